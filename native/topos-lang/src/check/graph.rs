//! The call graph: the names that an expression mentions are its edges, and groups of flows that call each other its
//! strongly connected components.
//!
//! Scopes are ignored: a local variable with the name of a flow gives an edge too many, which at worst makes a group larger.

use foldhash::HashSet;

use crate::syntax::ast::{self, ExprKind, StmtKind};

pub(super) fn flow<'a>(flow: &'a ast::FlowDecl, out: &mut HashSet<&'a str>) {
    flow.guards.iter().for_each(|g| expr(g, out));
    flow.body.iter().for_each(|b| block(b, out));
}

pub(super) fn handler<'a>(handler: &'a ast::HandlerDecl, out: &mut HashSet<&'a str>) {
    handler.states.iter().for_each(|s| expr(&s.initial, out));
    handler.clauses.iter().for_each(|c| block(&c.body, out));
}

pub(super) fn block<'a>(b: &'a ast::Block, out: &mut HashSet<&'a str>) {
    for stmt in &b.stmts {
        match &stmt.kind {
            StmtKind::Let { value, .. } | StmtKind::Bind { value, .. } | StmtKind::Define { value, .. } => {
                expr(value, out);
            }
            StmtKind::Assign { place, value } => {
                expr(place, out);
                expr(value, out);
            }
            StmtKind::For { iterable, body, .. } => {
                expr(iterable, out);
                block(body, out);
            }
            StmtKind::Return(value) => value.iter().for_each(|e| expr(e, out)),
            StmtKind::Expr(e) => expr(e, out),
        }
    }
}

fn arms<'a>(arms: &'a [ast::Arm], out: &mut HashSet<&'a str>) {
    for arm in arms {
        arm.guards.iter().for_each(|g| expr(g, out));
        block(&arm.body, out);
    }
}

pub(super) fn expr<'a>(e: &'a ast::Expr, out: &mut HashSet<&'a str>) {
    match &e.kind {
        ExprKind::Literal(_) | ExprKind::Constructor(_) | ExprKind::Error => {}
        ExprKind::Var { name, .. } => {
            out.insert(&name.name);
        }
        ExprKind::Format(parts) => {
            for part in parts {
                if let ast::FormatPart::Expr(e) = part {
                    expr(e, out);
                }
            }
        }
        ExprKind::Tuple(items) | ExprKind::List(items) => items.iter().for_each(|e| expr(e, out)),
        ExprKind::Record(fields) => fields.iter().for_each(|f| expr(&f.value, out)),
        ExprKind::Update { record, fields } => {
            expr(record, out);
            fields.iter().for_each(|f| expr(&f.value, out));
        }
        ExprKind::Apply { function, args } => {
            // `e.m(args)` may call the flow `m` of this module.
            if let ExprKind::Field { field, .. } = &function.kind {
                out.insert(&field.name);
            }
            expr(function, out);
            args.iter().for_each(|e| expr(e, out));
        }
        ExprKind::Thunk(b) | ExprKind::Do(b) | ExprKind::Loop(b) | ExprKind::Atomic(b) => block(b, out),
        ExprKind::MatchLambda(a) => arms(a, out),
        ExprKind::Field { record, .. } => expr(record, out),
        ExprKind::Index { collection, index } => {
            expr(collection, out);
            expr(index, out);
        }
        ExprKind::Binary { left, right, .. } => {
            expr(left, out);
            expr(right, out);
        }
        ExprKind::Negate(operand) => expr(operand, out),
        ExprKind::Match { scrutinees, arms: a } => {
            scrutinees.iter().for_each(|e| expr(e, out));
            arms(a, out);
        }
        ExprKind::If { condition, then, otherwise } => {
            expr(condition, out);
            block(then, out);
            otherwise.iter().for_each(|b| block(b, out));
        }
        ExprKind::Lambda { body, .. } | ExprKind::Forall { body, .. } => block(body, out),
        ExprKind::Perform { args, .. } => args.iter().for_each(|e| expr(e, out)),
        ExprKind::With { handlers, body } => {
            handlers.iter().for_each(|e| expr(e, out));
            block(body, out);
        }
        ExprKind::Receive { arms: a, after } => {
            arms(a, out);
            if let Some(after) = after {
                expr(&after.0, out);
                block(&after.1, out);
            }
        }
        ExprKind::Ask { process, make, timeout, .. } => {
            expr(process, out);
            expr(make, out);
            timeout.iter().for_each(|e| expr(e, out));
        }
        ExprKind::Try { body, clauses } => {
            expr(body, out);
            match clauses {
                ast::TryClauses::Arms(a) => arms(a, out),
                ast::TryClauses::Handler(clauses) => clauses.iter().for_each(|c| block(&c.body, out)),
            }
        }
        ExprKind::LetIn { value, body, .. } => {
            expr(value, out);
            expr(body, out);
        }
        ExprKind::Annotated { expr: inner, .. } => expr(inner, out),
    }
}

/// Strongly connected components of the nodes that `include` accepts, callees first (Tarjan 1972, without recursion).
pub(super) fn tarjan(edges: &[Vec<usize>], include: impl Fn(usize) -> bool) -> Vec<Vec<usize>> {
    let n = edges.len();
    let (mut index, mut low, mut on_stack) = (vec![usize::MAX; n], vec![0; n], vec![false; n]);
    let (mut stack, mut out, mut counter) = (Vec::new(), Vec::new(), 0);
    for root in (0..n).filter(|i| include(*i)) {
        if index[root] != usize::MAX {
            continue;
        }
        let mut work = vec![(root, 0)];
        while let Some((node, edge)) = work.pop() {
            if edge == 0 {
                index[node] = counter;
                low[node] = counter;
                counter += 1;
                stack.push(node);
                on_stack[node] = true;
            }
            if let Some(next) = edges[node].get(edge) {
                work.push((node, edge + 1));
                if index[*next] == usize::MAX {
                    work.push((*next, 0));
                } else if on_stack[*next] {
                    low[node] = low[node].min(index[*next]);
                }
                continue;
            }
            if low[node] == index[node] {
                let mut component = Vec::new();
                while let Some(member) = stack.pop() {
                    on_stack[member] = false;
                    component.push(member);
                    if member == node {
                        break;
                    }
                }
                component.sort_unstable();
                out.push(component);
            }
            if let Some((parent, _)) = work.last() {
                low[*parent] = low[*parent].min(low[node]);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::tarjan;

    #[test]
    fn components_come_callees_first() {
        let edges = vec![vec![1], vec![2], vec![1, 3], vec![], vec![0]];
        assert_eq!(tarjan(&edges, |_| true), [vec![3], vec![1, 2], vec![0], vec![4]]);
    }

    #[test]
    fn long_chains_do_not_overflow_the_stack() {
        let edges: Vec<Vec<usize>> = (0..200_000).map(|i| if i + 1 < 200_000 { vec![i + 1] } else { vec![] }).collect();
        assert_eq!(tarjan(&edges, |_| true).len(), 200_000);
    }
}
