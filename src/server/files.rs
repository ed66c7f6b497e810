//! Open files: as many as the system allows, and how many connections fit into them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::limits::Connections;

/// Kept back for the store, listeners, logs and look-ups of names: an eighth of all, within these bounds.
const OURS: (u64, u64) = (32, 256);
/// What a worker may have open in pipes ([`crate::http::pipe`]); kept back too, up to another eighth.
const PIPES_OF_A_WORKER: u64 = 32;
/// A connection of a client and one to the app. A client of HTTP/2 may need more of those: see [`Room::to_the_app`].
const PER_CONNECTION: u64 = 2;

/// So many connections are enough for a small site: fewer are told of, whoever chose their number.
const FEW: usize = 1_000;

/// How many connections fit into the open files.
pub(super) struct Room {
    /// Of clients.
    pub(super) clients: usize,
    /// To the app: all that clients cannot take.
    pub(super) to_the_app: usize,
}

/// Asks for as many open files as this process may have, and says how many connections fit into them if those that
/// are wanted do not. That is worth a warning if somebody chose their number, or if very few fit.
///
/// The limit that a process begins with is often 1024, for programs that cannot take more.
pub(super) fn make_room(connections: Connections, workers: usize) -> Room {
    let pipes = u64::try_from(workers).unwrap_or(u64::MAX).saturating_mul(PIPES_OF_A_WORKER);
    let wanted = connections.wanted();
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised =
        current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let files = if raised { maximum } else { current };
    let room = files.map_or(usize::MAX, |files| room_in(files, pipes));
    if room < wanted && (matches!(connections, Connections::Chosen(_)) || room < FEW) {
        tracing::warn!(
            files,
            connections = room,
            wanted,
            "the system allows too few open files for limits.connections"
        );
    } else if room < wanted {
        tracing::debug!(files, connections = room, "as many connections as the system allows open files for");
    }
    let clients = wanted.min(room);
    let to_the_app =
        files.map_or(usize::MAX, |files| number(for_connections(files, pipes)).saturating_sub(clients));
    Room { clients, to_the_app: to_the_app.max(1) }
}

fn room_in(files: u64, pipes: u64) -> usize {
    number(for_connections(files, pipes) / PER_CONNECTION).max(1)
}

/// Files that are not kept back.
fn for_connections(files: u64, pipes: u64) -> u64 {
    files.saturating_sub((files / 8).clamp(OURS.0, OURS.1)).saturating_sub(pipes.min(files / 8))
}

fn number(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_kept_back_and_a_connection_takes_two() {
        for (files, room) in [(10, 1), (64, 16), (256, 112), (1024, 448), (1_048_576, 524_160)] {
            assert_eq!(room_in(files, 0), room, "{files}");
        }
        assert_eq!((room_in(1024, 64), room_in(1024, 6400), room_in(10, 320)), (416, 384, 1));
    }
}
