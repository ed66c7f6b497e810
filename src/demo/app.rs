//! The app behind the demo: tasks in memory, a JSON API and one page. Of authentication it knows a header.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use askama::Template as _;
use bytes::Bytes;
use http::header::COOKIE;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::listen::{self, Reply, file, json, problem, reply};

/// Largest body that is read, in bytes.
const LARGEST_BODY: usize = 16 * 1024;
/// Longest title, in characters.
const LONGEST_TITLE: usize = 200;
/// Tasks that one user can have.
const MOST_TASKS: usize = 500;

/// Fields that come from the sidecar, in the order in which the page shows them.
const TOLD: [&str; 8] = [
    super::USER_ID,
    super::USER_EMAIL,
    super::USER_NAME,
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-request-id",
];

/// One thing to do.
#[derive(Clone, Serialize)]
struct Task {
    id: u64,
    title: String,
    done: bool,
}

/// What one user has to do.
struct List {
    last_id: u64,
    tasks: Vec<Task>,
}

impl List {
    /// What everybody finds at first.
    fn welcome() -> Self {
        let mut list = Self { last_id: 0, tasks: Vec::new() };
        list.add("Sign in to an app that has no sign-in".to_owned()).done = true;
        list.add("Add a task of my own".to_owned());
        list
    }

    fn add(&mut self, title: String) -> &mut Task {
        self.last_id += 1;
        self.tasks.push(Task { id: self.last_id, title, done: false });
        self.tasks.last_mut().expect("one was added")
    }
}

/// The lists of all users, by user id.
#[derive(Default)]
struct Lists(Mutex<HashMap<String, List>>);

/// The body of `POST`.
#[derive(Deserialize)]
struct New {
    title: String,
}

/// The body of `PUT`; what is not given stays.
#[derive(Deserialize)]
struct Change {
    title: Option<String>,
    done: Option<bool>,
}

#[derive(askama::Template)]
#[template(path = "tasks.html", config = "src/demo/askama.toml")]
struct Page<'a> {
    id: &'a str,
    email: &'a str,
    name: String,
    told: Vec<(&'a str, &'a str)>,
    cookie: &'a str,
    passed: Vec<(&'a str, &'a str)>,
}

/// Starts the app on a loopback port of the system's choice; it runs as long as the runtime of `office`.
///
/// # Errors
/// If no port can be bound.
pub async fn start(office: &Handle) -> io::Result<SocketAddr> {
    let (listener, address) = listen::bind().await?;
    let lists = Arc::new(Lists::default());
    office.spawn(listen::accept(office.clone(), listener, move |request| {
        let lists = Arc::clone(&lists);
        async move { answer(&lists, request).await }
    }));
    Ok(address)
}

async fn answer(lists: &Lists, request: Request<Incoming>) -> Reply {
    let (parts, body) = request.into_parts();
    let path: Vec<&str> = parts.uri.path().split('/').skip(1).collect();
    match (&parts.method, path.as_slice()) {
        (&Method::GET, [""]) => page(&parts.headers),
        (&Method::GET, ["tasks.css"]) => file("text/css; charset=utf-8", include_str!("tasks.css")),
        (&Method::GET, ["tasks.js"]) => file("text/javascript; charset=utf-8", include_str!("tasks.js")),
        (method, ["api", user, "tasks", rest @ ..]) if rest.len() <= 1 => {
            let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
                return problem(StatusCode::PAYLOAD_TOO_LARGE, "too long");
            };
            lists.api(method, user, rest.first().copied(), &body.to_bytes())
        }
        _ => problem(StatusCode::NOT_FOUND, "not found"),
    }
}

impl Lists {
    /// The user id comes from the path: nobody but its owner gets past the sidecar with it.
    fn api(&self, method: &Method, user: &str, id: Option<&str>, body: &[u8]) -> Reply {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let list = lists.entry(user.to_owned()).or_insert_with(List::welcome);
        let place = id.map(|id| list.tasks.iter().position(|task| task.id.to_string() == id));
        match (method, place) {
            (&Method::GET, None) => json(StatusCode::OK, &list.tasks),
            (&Method::POST, None) => match serde_json::from_slice(body) {
                Ok(New { title }) if good(&title) && list.tasks.len() < MOST_TASKS => {
                    json(StatusCode::CREATED, list.add(title.trim().to_owned()))
                }
                _ => problem(StatusCode::UNPROCESSABLE_ENTITY, "send {\"title\": \"…\"}"),
            },
            (&Method::PUT | &Method::DELETE, Some(None)) => problem(StatusCode::NOT_FOUND, "no such task"),
            (&Method::DELETE, Some(Some(at))) => {
                list.tasks.remove(at);
                reply(StatusCode::NO_CONTENT, "application/json", Bytes::new())
            }
            (&Method::PUT, Some(Some(at))) => match (serde_json::from_slice(body), list.tasks.get_mut(at)) {
                (Ok(Change { title, done }), Some(task)) if title.as_deref().is_none_or(good) => {
                    task.done = done.unwrap_or(task.done);
                    if let Some(title) = title {
                        title.trim().clone_into(&mut task.title);
                    }
                    json(StatusCode::OK, task)
                }
                _ => problem(StatusCode::UNPROCESSABLE_ENTITY, "send {\"done\": true} or {\"title\": \"…\"}"),
            },
            _ => problem(StatusCode::METHOD_NOT_ALLOWED, "no such method here"),
        }
    }
}

fn good(title: &str) -> bool {
    !title.trim().is_empty() && title.chars().count() <= LONGEST_TITLE
}

/// The page for whoever the sidecar says is asking.
fn page(headers: &HeaderMap) -> Reply {
    let get = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(id) = get(super::USER_ID) else {
        return problem(
            StatusCode::BAD_REQUEST,
            "no x-user-id: this app is meant to be reached through Sidegate",
        );
    };
    let email = get(super::USER_EMAIL).unwrap_or_default();
    let passed = headers
        .iter()
        .filter(|(name, _)| !TOLD.contains(&name.as_str()) && *name != COOKIE)
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("(not text)")));
    let page = Page {
        id,
        email,
        name: decoded(get(super::USER_NAME).filter(|name| !name.is_empty()).unwrap_or(email)),
        told: TOLD.iter().filter_map(|name| Some((*name, get(name)?))).collect(),
        cookie: get(COOKIE.as_str()).unwrap_or_default(),
        passed: passed.collect(),
    };
    match page.render() {
        Ok(html) => file("text/html; charset=utf-8", html),
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be written"),
    }
}

/// A header value with its percent-encodings undone, as the sidecar writes names that are not ASCII.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(b'%'));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(lists: &Lists, method: &Method, user: &str, id: Option<&str>, body: &str) -> u16 {
        lists.api(method, user, id, body.as_bytes()).status().as_u16()
    }

    #[test]
    fn tasks_are_made_changed_and_deleted_each_in_its_own_list() {
        let lists = Lists::default();
        assert_eq!(call(&lists, &Method::POST, "ada", None, r#"{"title":"read"}"#), 201);
        assert_eq!(call(&lists, &Method::POST, "ada", None, r#"{"title":" "}"#), 422);
        assert_eq!(call(&lists, &Method::PUT, "ada", Some("3"), r#"{"done":true}"#), 200);
        assert_eq!(call(&lists, &Method::PUT, "bob", Some("3"), r#"{"done":true}"#), 404);
        assert_eq!(call(&lists, &Method::DELETE, "ada", Some("3"), ""), 204);
        assert_eq!(call(&lists, &Method::DELETE, "ada", Some("3"), ""), 404);
        assert_eq!(call(&lists, &Method::POST, "ada", Some("1"), "{}"), 405);
    }

    #[test]
    fn names_that_were_encoded_for_a_header_read_as_they_were_given() {
        assert_eq!(decoded("Zo%C3%AB 100%25 %zz%"), "Zoë 100% %zz%");
    }
}
