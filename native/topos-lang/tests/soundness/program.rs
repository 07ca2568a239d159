//! Whole programs.

use std::fmt::Write;

use crate::generator::{Generator, Helper};
use crate::marks::{other, wrong};
use crate::types::{Row, Type, PROCESS};

/// A program: `p` of its module is the flow that is run.
pub(crate) struct Program {
    /// With the places of its mutants; the module's name is `$NAME`.
    pub(crate) text: String,
    /// What `p` answers has to match, as Erlang text.
    pub(crate) descriptor: String,
}

pub(crate) fn program(tape: &[u8]) -> Program {
    let mut g = Generator::new(tape);
    let mut text = String::from("module $NAME\nimport Common\nimport Topos.Process (Process)\n\n");
    let constructors: Vec<(String, Vec<Type>)> =
        (0..1 + g.next(3)).map(|i| (format!("Own{i}"), (0..g.next(3)).map(|_| g.ordered(1)).collect())).collect();
    let fields = |ts: &[Type]| ts.iter().map(Type::written).collect::<Vec<_>>().join(", ");
    let written: Vec<String> = constructors
        .iter()
        .map(|(name, ts)| if ts.is_empty() { name.clone() } else { format!("{name}({})", fields(ts)) })
        .collect();
    writeln!(text, "shape Own = {} deriving [Eq, Ord, Show]", written.join(" | ")).unwrap();
    // The last one is the leaf: not of the shape itself.
    let (mut plain, own): (Vec<_>, Vec<_>) = constructors.into_iter().partition(|(_, ts)| !fields(ts).contains("Own"));
    if plain.is_empty() {
        text = text.replacen("shape Own = ", "shape Own = Alone | ", 1);
        plain.push(("Alone".into(), Vec::new()));
    }
    g.own = own.into_iter().chain(plain).collect();
    if g.next(2) == 1 {
        text.push_str(&traits(&mut g));
    }
    for number in 0..g.next(4) {
        text.push_str(&flow(&mut g, &format!("helper{number}"), false));
    }
    let main = flow(&mut g, "p", true);
    let result = g.helpers.last().map(|p| p.result.clone()).unwrap_or(Type::Unit);
    let descriptor = result.descriptor();
    text.push_str(&g.handlers);
    Program { text: text + &main, descriptor }
}

/// A trait of the program, with a superclass, a default, and an instance that needs another one.
fn traits(g: &mut Generator<'_>) -> String {
    let mut body = |ty: Type| {
        g.scoped(|g| {
            let name = g.variable(&ty);
            format!("{name} = {}", g.expr(&Type::Int, 2))
        })
    };
    let (int, colour, maybe) = (body(Type::Int), body(Type::Colour), body(Type::Bool));
    let maybe = maybe.replacen(" =", ") ->", 1);
    g.graded = true;
    let missing = wrong(&format!("  grade {colour}\n"), "");
    format!(
        "trait Grade a{} where\n  grade : a -> Int\n  label : a -> Text\n  label x = show(x) ++ show(grade(x))\n\
         instance Grade Int where\n  grade {int}\n\
         instance Grade Colour where\n{missing}  label _ = \"colour\"\n\
         instance {} Grade (Maybe a) where\n  grade m = match m {{ | Some(x) -> grade(x) | None -> (fn({maybe})(true) }}\n\
         flow graded : {}(xs : [a]) -> Int = fold(fn(sum, x) -> sum + grade(x), 0, xs)\n",
        wrong(" extends Show a", ""),
        wrong("Grade a =>", ""),
        wrong("Grade a => ", ""),
    )
}

/// A flow, which later ones can call.
fn flow(g: &mut Generator<'_>, name: &str, main: bool) -> String {
    let row = match (main, g.next(3)) {
        (true, 0) => Row::PURE.with(PROCESS),
        (true, _) => Row::PURE,
        (false, 0) => Row::of(g.next(128)),
        (false, _) => Row::of(g.next(128)).without(PROCESS),
    };
    g.here = row;
    g.used = Row::PURE;
    g.signed = main || g.next(4) != 0;
    g.generic = !main && g.signed && g.once_in(4);
    g.ordered = false;
    g.vars.clear();
    let mut params: Vec<Type> = Vec::new();
    if g.generic {
        params.push(Type::Param);
    }
    if !main {
        params.extend((0..g.next(3)).map(|_| g.any(2)));
    }
    let names: Vec<String> = params.iter().map(|t| g.variable(t)).collect();
    let result = g.any(2);
    g.returns = Some(result.clone());
    let body = g.expr(&result, 5);
    g.returns = None;
    let annotated: Vec<String> = names.iter().zip(&params).map(|(n, t)| format!("{n} : {}", t.written())).collect();
    let written = result.written();
    let text = if g.signed {
        let domains: String = annotated.iter().map(|p| format!("({p}) -> ")).collect();
        let domains = if domains.is_empty() { "() -> ".to_owned() } else { domains };
        let constraints = match (g.generic, g.ordered) {
            (true, true) => format!("({}Show a) => ", wrong("Ord a, ", "")),
            (true, false) => "(Ord a, Show a) => ".to_owned(),
            _ => String::new(),
        };
        let bare = row.written().replace("Cell Text", if g.next(3) == 0 { "Cell" } else { "Cell Text" });
        let effects = g.used.effects().fold(bare, |text, effect| wrong(&text, &row.without(effect).written()));
        let effects =
            row.effects().filter(|e| !g.used.has(*e)).fold(effects, |t, e| other(&t, &row.without(e).written()));
        let another = if result == Type::Int { "Text" } else { "Int" };
        format!("flow {name} : {constraints}{domains}{}{effects} =\n  ({body} : {written})\n", wrong(&written, another))
    } else {
        format!("flow {name}({}) =\n  ({body} : {written})\n", annotated.join(", "))
    };
    let concrete = |t: &Type| t.instantiated(&Type::Int);
    let row = if g.signed { row } else { g.used };
    let params = params.iter().map(concrete).collect();
    g.helpers.push(Helper { name: name.to_owned(), params, row, result: concrete(&result) });
    g.generic = false;
    text + "\n"
}
