//! Finds strongly connected components of a small graph.

use std::collections::BTreeMap;

/// For each node, the nodes that it uses with the line of the first use.
pub(super) type Graph = Vec<BTreeMap<usize, usize>>;

/// Returns the components of more than one node, each sorted.
pub(super) fn components(graph: &Graph) -> Vec<Vec<usize>> {
    let reach: Vec<Vec<bool>> = (0..graph.len()).map(|from| reachable(graph, from)).collect();
    let mut found = Vec::new();
    let mut seen = vec![false; graph.len()];
    for from in 0..graph.len() {
        if seen[from] {
            continue;
        }
        let component: Vec<usize> = (from..graph.len()).filter(|to| reach[from][*to] && reach[*to][from]).collect();
        for node in &component {
            seen[*node] = true;
        }
        if component.len() > 1 {
            found.push(component);
        }
    }
    found
}

/// Returns which nodes are reachable from a node in at least one step.
fn reachable(graph: &Graph, from: usize) -> Vec<bool> {
    let mut seen = vec![false; graph.len()];
    let mut todo = vec![from];
    while let Some(node) = todo.pop() {
        for next in graph[node].keys() {
            if !std::mem::replace(&mut seen[*next], true) {
                todo.push(*next);
            }
        }
    }
    seen
}
