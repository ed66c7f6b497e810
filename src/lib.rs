//! **Sidegate** is a reverse-proxy authentication sidecar: one binary, one TOML file, in front of one web
//! app.
//!
//! It answers everything under its mount prefix (`/auth/`) itself, recognises the visitor of every other
//! request from memory, refuses what the rules forbid, and forwards the rest with a user-id header that the
//! app can trust. This page is the map of the house; each file opens with the one sentence that says what it
//! is for.
//!
//! # Two planes
//!
//! *Workers* ([`server`]) carry traffic: one thread and one runtime per core, each with its share of the
//! listener, its own connections to the app ([`proxy`]) and its own small table of sessions
//! ([`session::near::Near`]). A worker never computes a password hash and never runs a query. The *office*
//! is the runtime for everything that may take its time: flows, the store, jobs. A worker hands it a whole
//! request, or one question about a session, and awaits the answer.
//!
//! # The map, from the words upwards
//!
//! | level | modules | may import |
//! |---|---|---|
//! | words | [`id`] [`pattern`] [`secret`] [`time`] [`visitor`] | each other, leftwards |
//! | saying no | [`refusal`] [`error`] | words |
//! | tools | [`metrics`] [`trace`] [`config`] [`log`] | the above, leftwards |
//! | wire | [`http`] | the above |
//! | leaves | [`store`] [`mail`] [`oauth`] [`ui`] | words, saying no, tools; never each other, never `http` |
//! | judge | [`gate`] | words, saying no, `http::path`, `http::visit`, the rules in `config` |
//! | rules | [`session`] | words, saying no, tools, `store`, `http::cookie` |
//! | | [`token`] | words, saying no, tools, `store` |
//! | | [`account`] | words, saying no, tools, `store::tickets` |
//! | | [`limit`] | words, saying no, tools, `account::email`, `account::device` |
//! | carry | [`proxy`] | words, saying no, tools, `http`, [`gate::Pass`], [`session::live`] |
//! | say | [`answer`] | words, saying no, tools, `http`, `ui` |
//! | house | [`app`] | everything above |
//! | flows | [`flow`] | everything above; flows do not import flows |
//! | engine | [`jobs`] [`server`] [`demo`] | everything above |
//! | door | [`cli`] | everything |
//!
//! A test reads the `use crate::…` lines and holds them against this table (`tests/suite/architecture.rs`). Within a module
//! too no files use each other in a circle; a file and its own parts count as one.
//! Only [`store`] names `sqlx`; only [`server`], `oauth` and the demo name `hyper`; only
//! `server::http2`, `proxy::http2` and what they share in [`http`] name `h2`; only [`time`] reads the clock; only
//! [`secret`] and [`id`] draw randomness, but for the spread of a
//! table in memory (std's `RandomState`).
//!
//! # Invariants
//!
//! * **One look, one decision, one forward.** [`http::path::Path`] holds the exact bytes that are judged and
//!   forwarded, and every other way in which they could be read. If the readings would be judged differently
//!   the request is refused.
//! * **The permit is a type.** [`proxy::Proxy::forward`] takes a [`gate::Pass`], and only [`gate::decide`]
//!   makes one.
//! * **The gate is pure.** It looks at a [`http::visit::Visit`] and nothing else; it never waits.
//! * **The store is the truth.** A session is usable from memory only after the store gave it, and is ended
//!   in memory only after the store ended it. Every copy carries flags that void it; see [`session::cache`].
//! * **Errors deny.** When the store does not answer, the visitor is [`visitor::Visitor::Unsure`]: 503, never
//!   "signed out", never "let through".
//! * **Every token leads to a session that can be ended.** What memory keeps beside an access token is the
//!   session's shared copy, whose flags void both ([`session::bearer`]). A header that is not, byte for byte,
//!   one that we write is no token of ours ([`token::keys`]).
//! * **A signed cookie is a session for some minutes at most.** It tells the app who is asking and no endpoint of
//!   ours anything; sessions that are known to have ended are on a list for as long as one could be good
//!   ([`session::cache::Cache::note_ended`]), and the store is asked of one that is older than the list. A
//!   refresh cookie is exchanged in the request that needs it, once for all that show it, and the answer carries
//!   what came of it whatever it is ([`session::renewal`]).
//! * **A personal access token is kept as a session is**, under a hash and in a table of its own, and ends in the
//!   same ways ([`session`]). Its [`visitor::Grant`] lets it do less than its owner, never more: the gate holds
//!   both against every reading of the path, and lets it at no endpoint that changes the account.
//! * **A link in a mail is good once.** It is a [`store::tickets`] row under the hash of its token, bound to
//!   user, purpose and exact address, and spent by one conditional `DELETE` of a `POST` ([`account::ticket`]).
//! * **The mailbox alone makes no password good.** Whoever signed up first may not own the address (the classic
//!   pre-hijack). A verification counts with the account's own password or in its own session; without either,
//!   the owner of the mailbox sets a new password, and what was there before the first proof goes.
//! * **A pending sign-in is no session.** It has a table, a cookie and a token of its own, is a stranger to the
//!   gate, and gets a new token when its code came back.
//! * **The identity is written last**, after everything that came from the client, whose own spellings of
//!   those names were left out ([`proxy::reserved`]).
//! * **What a client is told is a closed list** ([`refusal::Refusal`]); what we know besides stays in a
//!   [`error::Fault`] and reaches only the log, once, in [`answer::refuse`].
//! * **A mail is sent if and only if what it tells of was committed**: it is a sealed line of the outbox,
//!   written in the flow's own transaction ([`flow::post`]) and sent by a job, at least once.
//! * **Secrets have no `Debug`, time is a value, randomness has two doors.**
//!
//! # Why HTTP/1.1 is ours
//!
//! Both sides of HTTP/1.1 are our own, down to the grammar ([`http::grammar`]), because both were measured to be what a
//! forward costs beside the kernel, and because each head has to be read once, by the parser whose reading is forwarded: a
//! second look at the bytes, to find what a more lenient parser lets pass, is a second reading. A test holds ours against
//! `httparse` on whatever both may meet. HTTP/2 is spoken on
//! both sides by the crate `h2`, whose writes are gathered so that what many streams say at a time leaves as one.
//!
//! Deliberately absent: traits with fewer than three implementers, middleware layers, a dependency-injection
//! container, cargo features, `unsafe` code, files read from the working directory that the configuration
//! does not name.
//!
//! # Under another configuration
//!
//! SIGHUP makes another [`app::App`] of the configuration as it is then ([`config::reload`], [`app::App::under`]): what
//! can change is made anew, what is remembered (sessions, keys, budgets, counters) is shared with the one before.
//! Every worker is handed it, and each request asks once for its worker as it is now (`server/worker.rs`), so that
//! what has begun ends as it began; a connection of HTTP/1.1 goes on under it and lets go of the earlier one. What a
//! reload changes in the store, which provider an id stands for, comes last, when all else was found good
//! ([`app::App::bind`]). Jobs look at the latest one at each step ([`jobs::Jobs::apply`]), and so does the
//! admin listener for each answer. A copy of a session belongs to the settings that it was made under: when those change,
//! memory is emptied, and what still runs under the earlier ones asks the store and keeps the answer to itself
//! ([`session::cache::Cache::supersede`]).
//!
//! # A request on its way to the app
//!
//! `GET /api/{id}/items` with a session cookie:
//!
//! 1. `server/thread.rs` accepts (`server/listen.rs`), idle connections make room where places are few
//!    (`server/seats.rs`), a header of the PROXY protocol says who is there if one is
//!    asked for (`server/proxy_protocol.rs`); `server/connection.rs` ends TLS if there is any; `server/http1.rs` reads
//!    a head into the buffer that all of its fields stay in, holds it to the letter of the grammar and parses it
//!    (`server/http1/head.rs`). Requests by HTTP/2 are put into the form of HTTP/1.1
//!    (`server/http2.rs`). Deadlines are numbers that one ticker per worker looks at ([`proxy::ticker`]); no timer is
//!    made per request, and what answers one by HTTP/2 is a task that has answered others (`server/hands.rs`).
//! 2. The message is checked (`server/read.rs`: one `Host`, one framing, one reading of the target), and
//!    `server/front.rs::answer` makes a [`http::visit::Visit`] of it.
//! 3. `server/recognise.rs` finds the cookie and asks [`session::Sessions::recognise`]: the worker's table,
//!    then the shared cache. Nothing waits. Only a token that carries our tag and is not in memory is asked
//!    of the store, by the office, once for all who ask at the same time.
//!    A signed cookie is verified by the office at its first sight, and needs no store (`server/recognise/signed.rs`).
//! 4. [`gate::decide`] says `Forward(Pass)`, and which [`gate::route::Route`] it is: what the log and the numbers call
//!    it.
//! 5. [`proxy::Proxy::forward`] writes the head in one pass, takes an idle connection of this worker, sends
//!    head and first piece of the body in one write, and waits for the head of the answer.
//!    Where HTTP/2 is spoken to the app, the same fields go out on a stream of a shared connection
//!    (`proxy/http2.rs`).
//! 6. What of the answer's head passes is copied as it came ([`http::reply`]); head and first piece leave in one write
//!    (`server/http1/write.rs`). The rest follows straight from
//!    the app's socket as the client takes it, where nobody speaks TLS by pipes of the kernel (`http/pipe.rs`), and so
//!    do large bodies of requests; at its end both connections are idle again. If the session was used
//!    after a day, its end was moved and its cookie is sent again.
//!
//! A proxy that is told to ask instead (`flow/forward_auth.rs`) gets the same judgement of the request that it asks
//! about, from the worker and at once.
//!
//! # A sign-in
//!
//! `POST /auth/sign-in` with a form:
//!
//! 1. to 3. as above; `decide` finds the [`gate::endpoint::Endpoint`] and that the request comes from our own
//!    page.
//! 4. The worker reads the body (64 KiB at most) and the office runs [`flow::run`], which starts the clock of
//!    the answer.
//! 5. `flow/sign_in.rs::attempt`: the address is brought into its one form, budgets are spent ([`limit`]),
//!    the account is read, one hash is verified whatever was found ([`account::password`]).
//! 6. In one transaction: the browser's earlier session ends, the new one is written with the hash of its
//!    token, the log gets its line, an outdated password hash is replaced.
//! 7. `303` to a checked place on this site, or the page again with `422`; no earlier than the floor, so that
//!    the time does not tell whether the account exists.
//!
//! # A sign-in through a provider
//!
//! `GET /auth/sign-in/{provider}`, and back at `GET /auth/callback/{provider}`:
//!
//! 1. `flow/start.rs` keeps a flow (hash of the state, hash of a secret for this browser, sealed PKCE verifier,
//!    nonce, where to go on to), gives the browser the secret in a cookie of that flow alone, and sends it away.
//! 2. `flow/callback/finish.rs` recalls the flow by its state. A flow that was begun in another browser or at another
//!    provider signs nobody in; one statement uses it up, so that a second callback finds it used.
//! 3. [`oauth::provider::Provider::identify`] exchanges the code and believes only what it can verify. No
//!    transaction is open meanwhile.
//! 4. `flow/callback/join.rs` decides whose account the identity opens: (provider, subject) first; by address
//!    only if both sides proved it; an account that somebody made under an unproved address goes to who proves
//!    it, rid of everything that opened it.
//! 5. In the same transaction the session begins as after a password, with a note of the provider's own session,
//!    by which signing out there (`flow/logout_token.rs`) ends it here, and the other way round.

pub mod account;
pub mod answer;
pub mod app;
pub mod cli;
pub mod config;
pub mod demo;
pub mod error;
pub mod flow;
pub mod gate;
pub mod http;
pub mod id;
pub mod jobs;
pub mod limit;
pub mod log;
pub mod mail;
pub mod metrics;
pub mod oauth;
pub mod pattern;
pub mod proxy;
pub mod refusal;
pub mod secret;
pub mod server;
pub mod session;
pub mod store;
pub mod time;
pub mod token;
pub mod trace;
pub mod ui;
pub mod visitor;
