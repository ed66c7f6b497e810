//! What routes and instances of the app are called, in the log and where requests are counted.

use std::sync::Arc;

use http::StatusCode;

use crate::gate::route::Route;
use crate::gate::rules::Rules;
use crate::log::access::Access;
use crate::metrics::worker::{Outcome, Requests, Worker as Counts};
use crate::proxy::instances::Instances;

/// What is told of requests by where they go, under one configuration.
pub(in crate::server) struct Names {
    /// Each route at its place.
    routes: Box<[Named]>,
    /// What is added to lines for each instance of the app, where there are several.
    instances: Box<[Box<[u8]>]>,
}

/// One route.
struct Named {
    /// Where its requests are counted.
    requests: Arc<Requests>,
    /// What is added to their lines.
    line: Box<[u8]>,
    /// What it is called in spans; none if it is none.
    name: Option<Arc<str>>,
}

impl Names {
    pub(in crate::server) fn new(
        rules: &Rules,
        instances: &Instances,
        counts: &Counts,
        access: &Access,
    ) -> Self {
        let line = |route, name: &str| match route {
            Route::NONE => Box::default(),
            route => access.of_route(name, route.rule()),
        };
        let named = |(route, name): (Route, String)| Named {
            requests: counts.route(&name),
            line: line(route, &name),
            name: (route != Route::NONE).then(|| name.into()),
        };
        let instances = (0..instances.count()).map_while(|place| instances.name(place));
        Self {
            routes: rules.routes().into_iter().map(named).collect(),
            instances: instances.map(|name| access.of_instance(name)).collect(),
        }
    }

    /// Counts a request of this route whose answer has begun, with its outcome, method and status.
    pub(super) fn answered(&self, route: Route, (outcome, method, status): (Outcome, usize, StatusCode)) {
        if let Some(named) = self.routes.get(route.place()) {
            named.requests.answered(outcome, method, status);
        }
    }

    /// What a span calls this route.
    pub(super) fn of(&self, route: Route) -> Option<Arc<str>> {
        self.routes.get(route.place())?.name.clone()
    }

    /// Adds to a line where its request went.
    pub(super) fn add(&self, line: &mut Vec<u8>, route: Route, instance: Option<u16>) {
        if let Some(named) = self.routes.get(route.place()) {
            line.extend_from_slice(&named.line);
        }
        if let Some(instance) = instance.and_then(|place| self.instances.get(usize::from(place))) {
            line.extend_from_slice(instance);
        }
    }
}
