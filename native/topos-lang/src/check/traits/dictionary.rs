//! Dictionaries in the core, and uses of members.
//!
//! A dictionary is a record ([`core::FlowBody::Dictionary`]): a field for each member, a function value of the dictionaries of
//! the member's own constraints and its parameters, and a field for each superclass. The flow `instance T H` makes it from the dictionaries of the
//! instance's context. A member of an instance that is known is a direct call, and the operators of built-in types are
//! the BEAM's.

use super::{dictionary_name, Constraint, Dict, DictId, COMBINER, COMPARABLE, NUM, ORDERABLE, SHOW};
use crate::check::elaborate::Head;
use crate::check::interface::{ConstraintExport, InstanceExport, Interface, TraitExport};
use crate::check::tree::{Builtin, FlowId};
use crate::check::{Checker, PRELUDE};
use crate::core::{self, FlowRef, Primitive};
use crate::diagnostic::Span;
use crate::syntax::ast::BinaryOp;
use crate::types::{Name, Tree};

fn at(kind: core::ExprKind, span: Span) -> core::Expr {
    core::Expr { kind, span }
}

/// The flow of the prelude whose value is the dictionary of the BEAM's operators.
fn native_name(of: &str) -> String {
    format!("instance {of} native")
}

impl Checker<'_> {
    /// A dictionary.
    fn dictionary(&mut self, id: DictId, span: Span) -> core::Expr {
        let kind = match self.dicts[id].clone() {
            Dict::Pending => core::ExprKind::Fail("a constraint is not solved".to_owned()),
            Dict::Given(index) => match self.dict_locals.get(index) {
                Some(local) => core::ExprKind::Local(local.clone()),
                None => core::ExprKind::Fail("a dictionary is missing".to_owned()),
            },
            Dict::Local(local) => core::ExprKind::Local(local),
            Dict::Super(base, field) => {
                core::ExprKind::Superclass { dictionary: Box::new(self.dictionary(base, span)), field }
            }
            Dict::Instance(key, context) => {
                let module = self.env.instances.get(&key).and_then(|i| i.module.as_ref().map(|m| m.to_string()));
                let args = self.dictionaries(&context, span);
                let flow = FlowRef { module, name: dictionary_name(&key), arity: args.len(), evidence: false };
                core::ExprKind::Call { flow, args }
            }
            Dict::Native(of) => {
                let module = (&*self.env.module != PRELUDE).then(|| PRELUDE.to_owned());
                let flow = FlowRef { module, name: native_name(&of), arity: 0, evidence: false };
                core::ExprKind::Call { flow, args: Vec::new() }
            }
        };
        at(kind, span)
    }

    pub(in crate::check) fn dictionaries(&mut self, ids: &[DictId], span: Span) -> Vec<core::Expr> {
        ids.iter().map(|id| self.dictionary(*id, span)).collect()
    }

    /// The head of a call of a flow with constraints, or of a member of a trait.
    pub(in crate::check) fn overloaded_head(&mut self, flow: FlowId, dicts: &[DictId], span: Span) -> Head {
        let Some((of, index)) = self.env.flows[flow].method.clone() else {
            return self.flow_with(flow, dicts, span);
        };
        let Some((first, own)) = dicts.split_first() else {
            return Head::Value(Box::new(at(core::ExprKind::Fail("a member without a dictionary".to_owned()), span)));
        };
        match self.dicts[*first].clone() {
            Dict::Instance(key, context) => {
                if let Some(member) = self.env.instances.get(&key).and_then(|i| i.members.get(index).copied()) {
                    let all: Vec<DictId> = context.iter().chain(own).copied().collect();
                    return self.flow_with(member, &all, span);
                }
            }
            Dict::Native(of) if &*of == COMPARABLE => return Head::Primitive(Primitive::Equal),
            Dict::Native(of) if &*of == SHOW => return Head::Builtin(Builtin::Show),
            _ => {}
        }
        let member = self.env.traits.get(&of).and_then(|t| t.members.get(index)).map(|m| m.name.to_string());
        let record = Box::new(self.dictionary(*first, span));
        let field = at(core::ExprKind::Field { record, field: member.unwrap_or_default() }, span);
        if own.is_empty() {
            return Head::Value(Box::new(field));
        }
        let args = self.dictionaries(own, span);
        Head::Value(Box::new(at(core::ExprKind::Apply { function: Box::new(field), args }, span)))
    }

    fn flow_with(&mut self, flow: FlowId, dicts: &[DictId], span: Span) -> Head {
        let dicts = self.dictionaries(dicts, span);
        let mut flow = self.flow_ref(flow);
        flow.arity += dicts.len();
        Head::Flow(flow, dicts)
    }

    /// A flow without constraints of its own as a head; one of the group under check is given what its caller is given.
    pub(in crate::check) fn plain_head(&mut self, flow: FlowId) -> Head {
        let given: Vec<core::Expr> = if self.env.flows[flow].constraints.is_empty() {
            Vec::new()
        } else {
            let span = Span::default();
            self.dict_locals.clone().into_iter().map(|l| at(core::ExprKind::Local(l), span)).collect()
        };
        let mut reference = self.flow_ref(flow);
        reference.arity += given.len();
        Head::Flow(reference, given)
    }

    /// A use without a call.
    pub(in crate::check) fn overloaded_value(
        &mut self,
        flow: FlowId,
        dicts: &[DictId],
        value: bool,
        span: Span,
    ) -> core::Expr {
        let head = self.overloaded_head(flow, dicts, span);
        if value {
            let unit = at(core::ExprKind::Literal(core::Literal::Unit), span);
            return self.saturate(head, vec![unit], span);
        }
        self.head_value(head, span)
    }

    pub(in crate::check) fn head_value(&mut self, head: Head, span: Span) -> core::Expr {
        match head {
            Head::Value(value) => *value,
            Head::Flow(flow, dicts) if dicts.is_empty() => at(core::ExprKind::FlowValue(flow), span),
            Head::Flow(flow, dicts) if flow.arity == dicts.len() => {
                let call = at(core::ExprKind::Call { flow, args: dicts }, span);
                at(core::ExprKind::Lambda { params: Vec::new(), body: Box::new(call) }, span)
            }
            Head::Primitive(op) => {
                let (x, y) = (self.new_local("x"), self.new_local("y"));
                let args = [&x, &y].map(|l| at(core::ExprKind::Local(l.clone()), span)).to_vec();
                let body = Box::new(at(core::ExprKind::Primitive { op, args }, span));
                at(core::ExprKind::Lambda { params: vec![x, y], body }, span)
            }
            Head::Builtin(b) => at(self.builtin_value(b, span), span),
            head => self.saturate(head, Vec::new(), span),
        }
    }

    /// A member of a trait of the prelude, applied to values.
    fn operator_member(
        &mut self,
        of: &str,
        member: &str,
        dict: DictId,
        args: Vec<core::Expr>,
        span: Span,
    ) -> core::Expr {
        let flow = self
            .env
            .traits
            .get(of)
            .and_then(|info| info.members.iter().find(|m| &*m.name == member))
            .map(|member| member.flow);
        match flow {
            Some(flow) => {
                let head = self.overloaded_head(flow, &[dict], span);
                self.saturate(head, args, span)
            }
            None => at(core::ExprKind::Fail(format!("the prelude has no `{member}`")), span),
        }
    }

    /// An operator whose operands are not of a built-in type that has it.
    pub(in crate::check) fn overloaded_operator(
        &mut self,
        op: BinaryOp,
        dict: DictId,
        args: Vec<core::Expr>,
        span: Span,
    ) -> core::Expr {
        let is = |order: &str| core::ExprKind::Construct { constructor: order.to_owned(), args: Vec::new() };
        let primitive = |op, args| at(core::ExprKind::Primitive { op, args }, span);
        match op {
            BinaryOp::Equal | BinaryOp::Identical => self.operator_member(COMPARABLE, "equal", dict, args, span),
            BinaryOp::NotEqual | BinaryOp::NotIdentical => {
                let equal = self.operator_member(COMPARABLE, "equal", dict, args, span);
                primitive(Primitive::Not, vec![equal])
            }
            BinaryOp::Less | BinaryOp::LessEqual | BinaryOp::Greater | BinaryOp::GreaterEqual => {
                let order = self.operator_member(ORDERABLE, "compare", dict, args, span);
                let (test, constructor) = match op {
                    BinaryOp::Less => (Primitive::Equal, "Before"),
                    BinaryOp::LessEqual => (Primitive::NotEqual, "After"),
                    BinaryOp::Greater => (Primitive::Equal, "After"),
                    _ => (Primitive::NotEqual, "Before"),
                };
                primitive(test, vec![order, at(is(constructor), span)])
            }
            BinaryOp::Append | BinaryOp::Combine => self.operator_member(COMBINER, "combine", dict, args, span),
            BinaryOp::Subtract => self.operator_member(NUM, "subtract", dict, args, span),
            BinaryOp::Multiply => self.operator_member(NUM, "multiply", dict, args, span),
            BinaryOp::Divide => self.operator_member(NUM, "divide", dict, args, span),
            _ => self.operator_member(NUM, "add", dict, args, span),
        }
    }

    /// `-x` and a number literal of a type with an instance of `Num`.
    pub(in crate::check) fn number_member(&mut self, member: &str, dict: DictId, arg: core::Expr) -> core::Expr {
        let span = arg.span;
        self.operator_member(NUM, member, dict, vec![arg], span)
    }

    /// A value in an f-string whose type has an instance of `Show`.
    pub(in crate::check) fn shown(&mut self, dict: DictId, value: core::Expr) -> core::Expr {
        let span = value.span;
        self.operator_member(SHOW, "show", dict, vec![value], span)
    }

    /// Whether the BEAM's operator is meant.
    pub(in crate::check) fn is_native(&self, dict: Option<DictId>) -> bool {
        dict.is_none_or(|d| matches!(self.dicts[d], Dict::Native(_) | Dict::Pending))
    }

    /// The flows that make dictionaries, and members that are defaults.
    pub(in crate::check) fn instance_flows(&mut self) -> Vec<core::Flow> {
        let mut flows = Vec::new();
        for build in std::mem::take(&mut self.instance_builds) {
            let Some(instance) = self.env.instances.get(&build.key).cloned() else { continue };
            let span = instance.span.unwrap_or_default();
            let context = instance.context.len();
            for (member, default) in &build.members {
                if let Some(default) = default {
                    flows.push(self.default_member(&build.key, *member, *default, context, span));
                }
            }
            let Some(of) = self.env.traits.get(&build.key.0).cloned() else { continue };
            let locals: Vec<core::Local> = (0..context).map(|_| self.new_local("dictionary")).collect();
            self.dict_locals = locals.clone();
            let given: Vec<DictId> = (0..context).map(|i| self.given(i)).collect();
            let mut supers = Vec::new();
            for (index, (constraint, dict)) in of.supers.iter().zip(&build.supers).enumerate() {
                supers.push((super::super_field(index, &constraint.of), self.dictionary(*dict, span)));
            }
            let mut members = Vec::new();
            for (member, (flow, _)) in of.members.iter().zip(&build.members) {
                let Head::Flow(reference, dicts) = self.flow_with(*flow, &given, span) else { continue };
                // The dictionaries of the member's own constraints are parameters of the field.
                let own = self.env.flows[*flow].constraints.len() - context;
                let total = FlowRef { arity: reference.arity + own, ..reference };
                let value = if own == 0 {
                    self.head_value(Head::Flow(total, dicts), span)
                } else {
                    let params: Vec<core::Local> = (0..own).map(|_| self.new_local("own")).collect();
                    let mut all = dicts;
                    all.extend(params.iter().map(|p| at(core::ExprKind::Local(p.clone()), span)));
                    let body = Box::new(self.head_value(Head::Flow(total, all), span));
                    at(core::ExprKind::Lambda { params, body }, span)
                };
                members.push((member.name.to_string(), value));
            }
            let body = core::FlowBody::Dictionary { supers, members };
            flows.push(self.dictionary_flow(dictionary_name(&build.key), locals, body, span));
        }
        if &*self.env.module == PRELUDE {
            flows.extend(self.native_dictionaries());
        }
        self.dict_locals.clear();
        flows
    }

    fn given(&mut self, index: usize) -> DictId {
        self.dicts.push(Dict::Given(index));
        self.dicts.len() - 1
    }

    fn dictionary_flow(&self, name: String, params: Vec<core::Local>, body: core::FlowBody, span: Span) -> core::Flow {
        core::Flow { name, exported: true, params, evidence: false, body, signature: None, span }
    }

    /// A member of an instance that is the trait's default.
    fn default_member(
        &mut self,
        key: &super::InstanceKey,
        member: FlowId,
        default: FlowId,
        context: usize,
        span: Span,
    ) -> core::Flow {
        let info = self.env.flows[member].clone();
        let locals: Vec<core::Local> = info.constraints.iter().map(|_| self.new_local("dictionary")).collect();
        self.dict_locals = locals.clone();
        let given: Vec<DictId> = (0..context).map(|i| self.given(i)).collect();
        let own: Vec<DictId> = (context..locals.len()).map(|i| self.given(i)).collect();
        let own_dict = self.dicts.len();
        self.dicts.push(Dict::Instance(key.clone(), given));
        let dicts: Vec<DictId> = std::iter::once(own_dict).chain(own).collect();
        let params: Vec<core::Local> = (0..info.arity).map(|_| self.new_local("arg")).collect();
        let head = self.flow_with(default, &dicts, span);
        let body = match head {
            Head::Flow(flow, mut args) => {
                args.extend(params.iter().map(|p| at(core::ExprKind::Local(p.clone()), span)));
                at(core::ExprKind::Call { flow, args }, span)
            }
            other => self.head_value(other, span),
        };
        core::Flow {
            name: info.name.to_string(),
            exported: true,
            params: locals.into_iter().chain(params).collect(),
            evidence: self.evidence.get(&member).copied().unwrap_or(false),
            body: core::FlowBody::Expr(body),
            signature: None,
            span,
        }
    }

    /// The dictionaries of the BEAM's comparisons, for flows that are generic over what they compare.
    fn native_dictionaries(&mut self) -> Vec<core::Flow> {
        let span = Span::default();
        let mut flows = Vec::new();
        let (x, y) = (self.new_local("x"), self.new_local("y"));
        let both = || [&x, &y].map(|l| at(core::ExprKind::Local(l.clone()), span)).to_vec();
        let primitive = |op| at(core::ExprKind::Primitive { op, args: both() }, span);
        let lambda =
            |body| at(core::ExprKind::Lambda { params: vec![x.clone(), y.clone()], body: Box::new(body) }, span);
        let order = |name: &str| at(core::ExprKind::Construct { constructor: name.to_owned(), args: Vec::new() }, span);
        let choose = |test, then, otherwise| {
            let kind = core::ExprKind::If {
                condition: Box::new(primitive(test)),
                then: Box::new(then),
                otherwise: Box::new(otherwise),
            };
            at(kind, span)
        };
        let equal = vec![("equal".to_owned(), lambda(primitive(Primitive::Equal)))];
        let compare = choose(Primitive::Less, order("Before"), choose(Primitive::Equal, order("Same"), order("After")));
        let show = vec![("show".to_owned(), at(self.builtin_value(Builtin::Show, span), span))];
        let compare = vec![("compare".to_owned(), lambda(compare))];
        for (of, members) in [(COMPARABLE, equal), (ORDERABLE, compare), (SHOW, show)] {
            let constraints = self.env.traits.get(of).map_or_else(Vec::new, |t| t.supers.clone());
            let mut supers = Vec::new();
            for (index, constraint) in constraints.iter().enumerate() {
                let dict = self.dicts.len();
                self.dicts.push(Dict::Native(constraint.of.clone()));
                supers.push((super::super_field(index, &constraint.of), self.dictionary(dict, span)));
            }
            let body = core::FlowBody::Dictionary { supers, members };
            flows.push(self.dictionary_flow(native_name(of), Vec::new(), body, span));
        }
        flows
    }

    pub(in crate::check) fn constraint_exports(
        constraints: &[Constraint],
        trees: &mut impl Iterator<Item = Tree>,
    ) -> Vec<ConstraintExport> {
        constraints
            .iter()
            .map(|c| (c.of.clone(), c.args.iter().map(|_| trees.next().unwrap_or(Tree::Error)).collect()))
            .collect()
    }

    pub(in crate::check) fn export_traits(&mut self, interface: &mut Interface) {
        let mut names: Vec<(Name, Name)> = self.env.own.traits.clone().into_iter().collect();
        names.sort();
        for (name, full) in names {
            let Some(info) = self.env.traits.get(&full).cloned() else { continue };
            let tys: Vec<_> = info.supers.iter().flat_map(|c| c.args.iter().copied()).collect();
            let Some((vars, trees)) = self.store.export_all(&tys, &info.params) else { continue };
            interface.traits.push(TraitExport {
                visible: self.is_visible(&name),
                name,
                vars,
                supers: Self::constraint_exports(&info.supers, &mut trees.into_iter()),
                members: info.members.iter().map(|m| m.name.clone()).collect(),
            });
        }
        let own = self.env.instances.iter().filter(|(_, i)| i.module.is_none());
        let mut keys: Vec<super::InstanceKey> = own.map(|(key, _)| key.clone()).collect();
        keys.sort();
        for key in keys {
            let (Some(info), Some(of)) = (self.env.instances.get(&key).cloned(), self.env.traits.get(&key.0)) else {
                continue;
            };
            let members = of.members.iter().map(|m| m.name.clone()).collect();
            let mut tys = info.args.clone();
            tys.extend(info.context.iter().flat_map(|c| c.args.iter().copied()));
            let Some((vars, trees)) = self.store.export_all(&tys, &[]) else { continue };
            let mut trees = trees.into_iter();
            let args = trees.by_ref().take(info.args.len()).collect();
            let context = Self::constraint_exports(&info.context, &mut trees);
            let structural = info.structural;
            let (of, head) = key;
            interface.instances.push(InstanceExport { of, head, vars, args, context, members, structural });
        }
    }
}
