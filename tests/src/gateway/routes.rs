//! Finds the function for a request: the most specific route that matches decides.

use std::collections::BTreeMap;

use crate::template::{Function, Route};

pub(super) struct Routes(Vec<(Route, String)>);

#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) route: &'a Route,
    pub(super) function: &'a str,
    pub(super) parameters: Parameters,
}

type Parameters = BTreeMap<String, String>;

/// How a segment of a path was matched, in the order of preference.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal,
    Variable,
    Greedy,
}

impl Routes {
    pub(super) fn new(functions: &[Function]) -> Routes {
        let routes = |function: &Function| -> Vec<_> {
            function
                .routes
                .iter()
                .map(|route| (route.clone(), function.binary.clone()))
                .collect()
        };
        Routes(functions.iter().flat_map(routes).collect())
    }

    pub(super) fn find(&self, method: &str, path: &str) -> Option<Found<'_>> {
        let candidates = self.0.iter().filter_map(|(route, function)| {
            let any_method = route.method == "ANY";
            let (segments, parameters) =
                (any_method || route.method == method).then(|| matched(&route.path, path))??;
            Some((
                (segments, any_method),
                Found {
                    route,
                    function,
                    parameters,
                },
            ))
        });
        candidates
            .min_by(|(one, _), (other, _)| one.cmp(other))
            .map(|(_, found)| found)
    }
}

/// How the segments of the path match those of the route, and the path parameters; `None` if they
/// do not match.
fn matched(route: &str, path: &str) -> Option<(Vec<Segment>, Parameters)> {
    let mut segments = Vec::new();
    let mut parameters = Parameters::new();
    let mut rest = Some(path.strip_prefix('/')?);
    for expected in route.strip_prefix('/')?.split('/') {
        let variable = expected
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'));
        if let Some(name) = variable.and_then(|name| name.strip_suffix('+')) {
            parameters.insert(
                name.to_owned(),
                rest.filter(|rest| !rest.is_empty())?.to_owned(),
            );
            segments.push(Segment::Greedy);
            return Some((segments, parameters));
        }
        let (actual, after) = match rest?.split_once('/') {
            Some((actual, after)) => (actual, Some(after)),
            None => (rest?, None),
        };
        rest = after;
        match variable {
            Some(name) if !actual.is_empty() => {
                parameters.insert(name.to_owned(), actual.to_owned());
                segments.push(Segment::Variable);
            }
            None if actual == expected => segments.push(Segment::Literal),
            _ => return None,
        }
    }
    rest.is_none().then_some((segments, parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, path: &str) -> Option<(String, Parameters)> {
        let route = |(method, path): (&str, &str)| {
            (
                Route {
                    method: method.to_owned(),
                    path: path.to_owned(),
                },
                format!("{method} {path}"),
            )
        };
        let routes = [
            ("ANY", "/{proxy+}"),
            ("GET", "/messages/{id}"),
            ("ANY", "/messages/latest"),
            ("GET", "/messages/latest"),
            ("POST", "/messages/{id}/cancel"),
        ];
        let routes = Routes(routes.map(route).to_vec());
        routes
            .find(method, path)
            .map(|found| (found.function.to_owned(), found.parameters))
    }

    #[test]
    fn the_most_specific_route_wins() {
        for (method, path, expected) in [
            ("GET", "/messages/latest", "GET /messages/latest"),
            ("PUT", "/messages/latest", "ANY /messages/latest"),
            ("GET", "/messages/7", "GET /messages/{id}"),
            ("POST", "/messages/7", "ANY /{proxy+}"),
            ("GET", "/messages/", "ANY /{proxy+}"),
            ("GET", "/messages/7/cancel", "ANY /{proxy+}"),
            ("POST", "/messages/7/cancel", "POST /messages/{id}/cancel"),
        ] {
            assert_eq!(
                found(method, path).map(|(route, _)| route).as_deref(),
                Some(expected),
                "{method} {path}"
            );
        }
        assert!(found("GET", "/").is_none());
    }

    #[test]
    fn variables_become_path_parameters() {
        let parameters = |method, path| found(method, path).map(|(_, parameters)| parameters);
        let expected =
            |name: &str, value: &str| Some(Parameters::from([(name.to_owned(), value.to_owned())]));
        assert_eq!(parameters("GET", "/messages/7"), expected("id", "7"));
        assert_eq!(parameters("GET", "/a/b/c"), expected("proxy", "a/b/c"));
    }
}
