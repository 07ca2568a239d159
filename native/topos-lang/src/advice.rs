//! A help line for errors whose place says nothing better: every mistake ends with what can be done about it.

use crate::codes as c;
use crate::diagnostic::{Code, Diagnostic};
use crate::syntax::codes as s;

/// Gives each diagnostic without a help line the one of its code. Of a module that is not there, whoever looked for it says where.
pub(crate) fn complete(diagnostics: &mut [Diagnostic]) {
    for diagnostic in diagnostics {
        if diagnostic.help.is_none() && diagnostic.code != c::UNKNOWN_MODULE {
            diagnostic.help = Some(of(diagnostic.code, &diagnostic.message));
        }
    }
}

fn of(code: Code, message: &str) -> String {
    let text = match code {
        s::UNEXPECTED if message.starts_with("expected `{`") => "what belongs together stands in braces: `if c { .. }`",
        s::UNEXPECTED if message.starts_with("expected `,` or") => "elements are divided by commas",
        s::UNEXPECTED => "look at what stands before it: something may be missing there, or one thing too many",
        s::EXPECTED_EXPRESSION => "a value belongs here: a name, a literal, a call, or a block in braces",
        s::EXPECTED_PATTERN => "a pattern is a name, `_`, a literal, a constructor, a tuple, a list or a record",
        s::EXPECTED_TYPE if message.starts_with("expected an effect row") => {
            "a row is a list of effects in braces, `/ {IO}`, or a variable, `/ e`"
        }
        s::EXPECTED_TYPE => "a type is a name as `Int`, a list `[Int]`, a tuple, a record, or a function `Int -> Text`",
        s::UNCLOSED => "close it where what it holds ends",
        s::MISSING_END => "write `end` behind the last arm, or the arms in braces",
        c::UNKNOWN_NAME | c::UNKNOWN_TYPE | c::UNKNOWN_CONSTRUCTOR | c::UNKNOWN_EFFECT | c::UNKNOWN_TRAIT => {
            "define it, or import the module that does"
        }
        c::UNKNOWN_EXPORT => "declare it, or leave it out here",
        c::MISMATCH => "change what stands here, or what says that another type belongs here",
        c::OPERAND => "a number has a type with an instance of `Num`",
        c::DEFINED_TWICE => "give one of the two another name, or leave it out",
        c::NOT_A_FUNCTION => "only functions are called; a name alone is its value",
        c::COMPARES_FUNCTIONS => "compare what the functions answer, or a value that says which one it is",
        c::SIGNATURE_ARITY => "all clauses of a flow have the same number of parameters",
        c::LITERAL_RANGE => "choose a smaller number, or a larger unit",
        c::ARGUMENT_COUNT => "give as many arguments as it has parameters",
        c::TRAIT_ARGUMENTS => "give as many types as the trait has parameters",
        _ => return format!("`topos explain {code}` says more"),
    };
    text.to_owned()
}
