//! The topology of a live cluster, from the nodes that serve their statistics.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use topos_sim::{Drawing, DrawnNode, Role, State};

use super::refused;
use crate::{
    failure::Error,
    top::client::{foreign, get},
};

/// What `/topology` answers.
#[derive(Debug, Deserialize)]
struct View {
    node: String,
    members: Vec<Member>,
    /// For each node that is known, those that it has a link to.
    links: Vec<Links>,
}

#[derive(Debug, Deserialize)]
struct Member {
    node: String,
    status: String,
    /// `hub`, `client`, or `peer` where the topology knows no roles.
    role: Role,
}

#[derive(Debug, Deserialize)]
struct Links {
    from: String,
    to: Vec<String>,
}

/// Asks all of them, and draws what they know together.
pub(super) fn draw(addresses: &[String]) -> Result<String, Error> {
    let mut views = Vec::new();
    for address in addresses {
        let text = get(address, "/topology")?;
        views.push(serde_json::from_str(&text).map_err(|why| foreign(address, &why.to_string()))?);
    }
    let drawing = merge(&views);
    drawing.svg().ok_or_else(|| refused("a drawing shows up to 500 nodes; the cluster has more"))
}

/// Where the nodes disagree on a member, the one that is asked of itself is right, and then whoever has it up.
fn merge(views: &[View]) -> Drawing {
    let mut nodes: BTreeMap<&str, (State, Role)> = BTreeMap::new();
    let mut links: BTreeSet<(&str, &str)> = BTreeSet::new();
    for view in views {
        for Member { node, status, role } in &view.members {
            let state = match status.as_str() {
                "up" => State::Alive,
                "suspect" | "joining" => State::Suspect,
                _ => State::Dead,
            };
            let known = nodes.entry(node).or_insert((state, *role));
            known.0 = known.0.min(state);
        }
        for Links { from, to } in &view.links {
            links.extend(to.iter().map(|to| (from.as_str(), to.as_str())));
        }
    }
    for view in views {
        nodes.entry(&view.node).or_insert((State::Alive, Role::Peer)).0 = State::Alive;
    }
    // Whoever was not asked says nothing of its links: a link that one side tells of goes both ways for all that is known.
    let asked: BTreeSet<&str> = views.iter().flat_map(|view| &view.links).map(|links| links.from.as_str()).collect();
    let back: Vec<_> = links.iter().filter(|(_, to)| !asked.contains(to)).map(|&(from, to)| (to, from)).collect();
    links.extend(back);
    let names: Vec<&str> = nodes.keys().copied().collect();
    let number = |name: &str| names.binary_search(&name).ok();
    Drawing {
        nodes: nodes.iter().map(|(&name, &(state, role))| DrawnNode { name: name.to_owned(), state, role }).collect(),
        links: links.iter().filter_map(|(from, to)| Some((number(from)?, number(to)?))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(text: &str) -> View {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_mesh_of_three_with_one_down() {
        let one = view(
            r#"{"node":"a@h","topology":"full_mesh","members":[{"node":"a@h","status":"up","role":"peer"},
                {"node":"b@h","status":"up","role":"peer"},{"node":"c@<h>","status":"down","role":"peer"}],
                "links":[{"from":"a@h","to":["b@h"]}]}"#,
        );
        insta::assert_snapshot!(merge(&[one]).svg().unwrap().replace("><", ">\n<"));
    }

    #[test]
    fn nodes_that_are_asked_together_tell_which_links_go_one_way() {
        let view = |node: &str, status: &str, to: &str| {
            view(&format!(
                r#"{{"node":"{node}","members":[{{"node":"a","status":"up","role":"hub"}},
                    {{"node":"b","status":"{status}","role":"client"}}],"links":[{{"from":"{node}","to":[{to}]}}]}}"#
            ))
        };
        let drawing = merge(&[view("a", "suspect", r#""b""#), view("b", "up", "")]);
        assert_eq!(drawing.links, [(0, 1)].into());
        assert_eq!(drawing.nodes[1].state, State::Alive, "it says so itself");
        assert_eq!(drawing.nodes[0].role, Role::Hub);
        let alone = merge(&[view("a", "suspect", r#""b""#)]);
        assert_eq!((alone.links.len(), alone.nodes[1].state), (2, State::Suspect), "nobody else was asked");
    }
}
