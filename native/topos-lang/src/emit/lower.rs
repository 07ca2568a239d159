//! Flows → functions.

use super::descriptor;
use super::forms::{Anno, At, Clause, Expr, Form, Type, Variable};
use super::handler::{self, InSight, Inside};
use super::lines::Lines;
use super::names::Names;
use super::{NAME_TOO_LONG, RESERVED_NAME, TOO_MANY_PARAMETERS};
use crate::core::{Flow, FlowBody, Local, Module, Signature};
use crate::diagnostic::{Code, Diagnostic, Span};

/// Erlang allows 255 arguments; a function value takes one more than its parameters, and a partial application needs room.
const MAX_PARAMETERS: usize = 250;
/// What the name of an atom may have, in characters.
const MAX_NAME: usize = 255;

pub(super) fn module(module: &Module, source: &str) -> Result<Vec<Form>, Vec<Diagnostic>> {
    let lines = Lines::new(source);
    let mut diagnostics = Vec::new();
    let mut exports = Vec::new();
    let mut functions = Vec::new();
    for flow in &module.flows {
        let mut lowering = Lowering::new(module, &lines, &mut diagnostics);
        lowering.check_name(flow);
        if flow.exported {
            exports.push((flow.name.clone(), flow.params.len()));
            if flow.evidence {
                exports.push((flow.name.clone(), flow.params.len() + 1));
                functions.extend(lowering.wrapper(flow));
            }
        }
        // The wrapper is a function of its own, with variables of its own.
        let mut lowering = Lowering::new(module, &lines, &mut diagnostics);
        functions.extend(lowering.flow(flow));
        for (name, clause) in lowering.lifted {
            exports.push((name.clone(), clause.patterns.len()));
            functions.push(Form::Function { anno: clause.anno, name, clause });
        }
    }
    for handler in &module.handlers {
        if handler.exported {
            exports.extend(handler::exports(handler));
        }
        functions.push(Lowering::new(module, &lines, &mut diagnostics).handler_with(handler));
        for part in Lowering::parts(handler) {
            functions.push(Lowering::new(module, &lines, &mut diagnostics).handler_part(handler, part));
        }
    }
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    let mut forms = vec![
        Form::File(module.file.clone()),
        Form::Module(module.name.clone()),
        Form::Export(exports),
        // A flow may have the name of a built-in function of Erlang, and a private flow that nobody calls is no mistake.
        Form::Compile(vec!["no_auto_import", "nowarn_unused_function"]),
    ];
    forms.extend(functions);
    Ok(forms)
}

/// What lowering needs to know while it is inside one flow.
pub(super) struct Lowering<'a> {
    pub(super) module: &'a Module,
    pub(super) names: Names,
    /// The variable that holds the evidence here; `None` in a pure flow.
    pub(super) evidence: Option<Variable>,
    /// The `with`s around what is lowered, the innermost last.
    pub(super) in_sight: Vec<InSight>,
    pub(super) inside: Option<Inside>,
    /// Whether what is lowered stands in an Erlang guard.
    pub(super) in_guard: bool,
    /// Closures that became functions of the module, which exports them.
    pub(super) lifted: Vec<(String, Clause)>,
    pub(super) lines: &'a Lines<'a>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl<'a> Lowering<'a> {
    fn new(module: &'a Module, lines: &'a Lines<'a>, diagnostics: &'a mut Vec<Diagnostic>) -> Self {
        Self {
            module,
            names: Names::default(),
            evidence: None,
            in_sight: Vec::new(),
            inside: None,
            in_guard: false,
            lifted: Vec::new(),
            lines,
            diagnostics,
        }
    }

    pub(super) fn at(&self, span: Span) -> At {
        At(self.place(span))
    }

    pub(super) fn place(&self, span: Span) -> Anno {
        self.lines.place(span.start)
    }

    pub(super) fn refuse(&mut self, code: Code, message: String, span: Span, help: &str) {
        self.diagnostics.push(Diagnostic::new(code, message, span).help(help));
    }

    pub(super) fn check_parameters(&mut self, count: usize, what: &str, span: Span) {
        if count > MAX_PARAMETERS {
            let message = format!("{what} has {count} parameters; the BEAM allows {MAX_PARAMETERS}");
            self.refuse(TOO_MANY_PARAMETERS, message, span, "pass them as a record");
        }
    }

    /// Atoms hold names; a longer one would end the Erlang compiler.
    pub(super) fn check_atom(&mut self, name: &str, span: Span) {
        let length = name.chars().count();
        if length > MAX_NAME {
            let message = format!("a name of {length} characters; the BEAM allows {MAX_NAME}");
            self.refuse(NAME_TOO_LONG, message, span, "choose a shorter name");
        }
    }

    fn check_name(&mut self, flow: &Flow) {
        self.check_parameters(flow.params.len(), &format!("`{}`", flow.name), flow.span);
        self.check_atom(&flow.name, flow.span);
        if matches!(flow.name.as_str(), "module_info" | "record_info") {
            let message = format!("`{}` is the name of a function that every Erlang module has", flow.name);
            self.refuse(RESERVED_NAME, message, flow.span, "choose another name");
        }
    }

    /// The evidence to pass on.
    pub(super) fn evidence(&self, at: At) -> Expr {
        match &self.evidence {
            Some(variable) => at.var(variable),
            None => at.map(Vec::new()),
        }
    }

    /// Runs `f` where the evidence is in a fresh variable, which it is given.
    pub(super) fn with_evidence<T>(&mut self, f: impl FnOnce(&mut Self, &Variable) -> T) -> T {
        let variable = self.names.fresh("Ev");
        let outer = self.evidence.replace(variable.clone());
        let result = f(self, &variable);
        self.evidence = outer;
        result
    }

    pub(super) fn bind_all(&mut self, at: At, locals: &[Local]) -> Vec<Expr> {
        locals.iter().map(|l| at.var(&self.names.bind(l))).collect()
    }

    fn flow(&mut self, flow: &Flow) -> Vec<Form> {
        let at = self.at(flow.span);
        if flow.evidence {
            self.with_evidence(|this, variable| {
                let mut params = this.bind_all(at, &flow.params);
                params.push(at.var(variable));
                this.function(flow, at, params, true)
            })
        } else {
            let params = self.bind_all(at, &flow.params);
            self.function(flow, at, params, false)
        }
    }

    fn function(&mut self, flow: &Flow, at: At, params: Vec<Expr>, evidence: bool) -> Vec<Form> {
        let body = match &flow.body {
            FlowBody::Expr(e) => self.body(e),
            FlowBody::Dictionary { supers, members } => vec![self.dictionary(at, flow, supers, members)],
            FlowBody::Extern { module, function, args, returns } => {
                let args = args.iter().map(|p| at.var(&self.names.of(p))).collect();
                let variable = self.names.fresh("Result");
                let what = format!("extern {}.{} = \"{module}:{function}\"", self.module.name, flow.name);
                self.check_atom(module, flow.span);
                self.check_atom(function, flow.span);
                vec![descriptor::checked(at, returns, at.remote(module, function, args), &variable, &what)]
            }
        };
        let clause = at.clause(params, None, body);
        with_spec(flow, at, evidence, Form::Function { anno: at.0, name: flow.name.clone(), clause })
    }

    /// `f(A) -> f(A, topos_effect:root()).`: how Erlang code calls a flow that has effects.
    fn wrapper(&mut self, flow: &Flow) -> Vec<Form> {
        let at = self.at(flow.span);
        let params = self.bind_all(at, &flow.params);
        let mut args = params.clone();
        args.push(at.remote("topos_effect", "root", Vec::new()));
        let clause = at.clause(params, None, vec![at.call(&flow.name, args)]);
        with_spec(flow, at, false, Form::Function { anno: at.0, name: flow.name.clone(), clause })
    }
}

fn with_spec(flow: &Flow, at: At, evidence: bool, function: Form) -> Vec<Form> {
    let Some(Signature { params, returns }) = flow.signature.as_ref().filter(|_| flow.exported) else {
        return vec![function];
    };
    let mut params: Vec<Type> = params.iter().map(descriptor::spec).collect();
    if evidence {
        params.push(Type::AnyMap);
    }
    let spec = Form::Spec { anno: at.0, name: flow.name.clone(), params, returns: descriptor::spec(returns) };
    vec![spec, function]
}
