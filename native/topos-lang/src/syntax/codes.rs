//! The codes of lexer and parser, `TP0001` to `TP0099`, each with a title and an explanation for `topos explain`.

use crate::diagnostic::Code;

/// What `topos explain` prints about a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The code.
    pub code: Code,
    /// A few words.
    pub title: &'static str,
    /// A paragraph: what the mistake is, why it is one, how it is mended.
    pub text: &'static str,
}

/// The explanation of a code of lexer or parser.
pub fn explain(code: Code) -> Option<&'static Explanation> {
    EXPLANATIONS.iter().find(|explanation| explanation.code == code)
}

macro_rules! codes {
    ($($name:ident = $number:literal, $title:literal, $text:literal;)*) => {
        $(#[doc = $title] pub const $name: Code = Code($number);)*

        /// All codes of lexer and parser, in order.
        pub const EXPLANATIONS: &[Explanation] = &[
            $(Explanation { code: $name, title: $title, text: $text },)*
        ];
    };
}

codes! {
    NOT_UTF8 = 1, "the file is not UTF-8",
        "Topos sources are UTF-8. The message gives the offset of the first byte that is not; save the file as \
         UTF-8 in your editor, or convert it with `iconv -t utf-8`.";
    TOO_LARGE = 2, "the file is too large",
        "A source file has a size limit, 8 MiB by default, so that a generated or damaged file cannot exhaust the \
         machine. Split the module, or raise the limit where the compiler is embedded.";
    UNKNOWN_CHARACTER = 3, "a character without a meaning",
        "Outside of texts and comments Topos is written in ASCII. Characters that look like quotes, blanks or \
         arrows but are not often come with text that was pasted from a document.";
    UNTERMINATED_TEXT = 4, "a text that does not end",
        "A text begins and ends with `\"` on one line. The message shows where it began. A line end inside a text \
         is written `\\n`, a quote `\\\"`. In an f-string the expressions in braces stand on the same line too.";
    UNTERMINATED_COMMENT = 5, "a comment that does not end",
        "Comments between `{-` and `-}` nest: each `{-` inside one needs its own `-}`. The message shows the \
         outermost `{-`.";
    UNKNOWN_ESCAPE = 6, "an unknown escape in a text",
        "The escapes are `\\n`, `\\r`, `\\t`, `\\\\`, `\\\"` and `\\u{1F600}` with one to six hexadecimal digits \
         that name a Unicode scalar value; in f-strings also `\\{` and `\\}`.";
    MALFORMED_NUMBER = 7, "a malformed number",
        "Numbers are `42`, `1_000`, `1.5`, `1e3`; durations are whole numbers with `ms`, `s`, `min` or `h` \
         directly behind them, as in `30s`, and fit into 64 bits of milliseconds. A name cannot begin with a \
         digit.";
    FOREIGN_COMMENT = 8, "a comment of another language",
        "Comments begin with `--` and run to the end of the line, or stand between `{-` and `-}`. `---` before a \
         declaration is its documentation.";
    TOO_DEEP = 10, "nesting too deep",
        "Expressions, types, patterns and blocks may be nested, and operators chained, up to a fixed depth. It is \
         far beyond what people write; generated code that reaches it should bind parts to names or use lists.";
    TOO_MANY_ERRORS = 11, "too many errors",
        "The file has more syntax errors than the compiler reports at once. Mend the first ones and run it again.";
    UNEXPECTED = 12, "something else was expected",
        "The grammar wants something else in this place; the message says what, and what it found. The mistake is \
         often just before the place shown.";
    EXPECTED_EXPRESSION = 13, "an expression is missing",
        "After an operator, `=`, `<-`, `->`, `(` or a keyword such as `return` the grammar wants an expression, \
         and there is none.";
    EXPECTED_PATTERN = 14, "a pattern is missing",
        "Patterns are `_`, names, literals, tuples `(a, b)`, lists `[a, b]` and `h :: t`, records `{a: p}`, \
         constructors `Some(x)`. Calls and operators cannot stand in one: bind a name and ask in a guard, `| x \
         when x > 3 -> ..`.";
    EXPECTED_TYPE = 15, "a type is missing",
        "Types are names with their arguments, `Map(k, v)` or `Map k v`, variables, tuples, lists `[a]`, records \
         `{a: Int}`, `()` and functions `A -> B / {Effect}`.";
    UNCLOSED = 16, "a bracket that is not closed",
        "Each `(`, `[` and `{` needs its partner. The message shows the one that was opened and the place where \
         the parser gave up waiting. A declaration in column 1 ends everything before it, so a missing brace \
         never swallows the next flow.";
    STRAY_CLOSER = 17, "a bracket that closes nothing",
        "There is a `)`, `]` or `}` without the partner that opens it. Often one was deleted or written twice, or \
         an opening one is missing further up.";
    STRAY_KEYWORD = 18, "a keyword out of place",
        "`end`, `else`, `then`, `of`, `in` and similar words continue something that began before them, and here \
         nothing did. Blocks in braces take no `end`: `match x { .. }`, but `match x of | .. end`.";
    MISSING_END = 19, "an `end` is missing",
        "A `match .. of` and other constructs without braces run to an `end`. Only for `trait` and `instance` \
         does a declaration in column 1 stand for it.";
    KEYWORD_AS_NAME = 20, "a keyword as a name",
        "Words such as `match`, `end`, `loop` or `operation` belong to the language and cannot name anything. Add \
         a letter or a prime: `end_`, `match'`.";
    WRONG_CASE = 21, "a name in the wrong case",
        "Types, constructors, modules, traits, effects, actors and sessions begin with an upper-case letter; \
         flows, variables, fields, handlers and operations with a lower-case one. The parser tells them apart by \
         it.";
    ASSIGNMENT_IN_CONDITION = 22, "`=` in place of `==`",
        "`=` binds a name in a statement, `==` compares. In a condition, a guard or an operand only the \
         comparison makes sense.";
    CHAINED_COMPARISON = 23, "a chain of comparisons",
        "Comparisons do not chain: `a < b < c` would compare a truth value with `c`. Write `a < b && b < c`.";
    ARM_ARROW = 24, "an arm without its arrow",
        "An arm is `| pattern -> body`, with guards `| pattern when condition -> body`. Clauses of handlers have \
         `=>`.";
    ARM_BAR = 25, "an arm without its bar",
        "Each arm begins with `|`, the first one too: `match x { | A -> 1 | B -> 2 }`.";
    STATEMENT_END = 26, "a statement that does not end",
        "Statements end with their line. A line goes on when it ends in an operator or a comma, when the next one \
         begins with an infix operator or `.name`, and inside parentheses, brackets and records. Arguments stand \
         on the line of their function.";
    NOT_A_DECLARATION = 27, "not a declaration",
        "A module is a sequence of declarations: `flow`, `type`, `effect`, `handler`, `trait`, `instance`, \
         `config`, `test` and so on. Expressions and bindings belong into the body of a flow.";
    DECLARATION_COLUMN = 28, "a declaration out of its column",
        "`type`, `instance`, `handler`, `config`, `impl`, `test`, `property`, `session`, `protocol` and `extern` \
         are ordinary names elsewhere, so they begin a declaration only in column 1. Keywords such as `flow` \
         begin one only outside of braces.";
    NOT_A_PLACE = 29, "an assignment to something that is no place",
        "`:=` assigns to a state variable, to a field of one or to an index into one: `x`, `x.field`, `x[key]`.";
    BINDING_TARGET = 30, "a binding of something that is no name",
        "`x = e` binds one name; `let pattern = e` and `pattern <- e` take a pattern. A call or an operator \
         cannot be bound.";
    PERFORM_CALL = 31, "`perform` without a call",
        "`perform` is followed by an operation with its arguments in parentheses: `perform P.send(node, \
         message)`, `perform sync()`.";
    RECORD_FIELD = 32, "a malformed record or list",
        "Records are `{a = 1, b = 2}` (or `a: 1`, or `{a, b}` for variables of these names), updates `{r with a = \
         1}`; lists are `[a, b]`, and `h :: t` puts an element before a list. Field names are not quoted. Fields \
         are separated by commas.";
    MISSING_ELSE = 34, "`if .. then` without `else`",
        "`if c then a else b` is an expression and needs both values. To do something only when a condition \
         holds, use braces: `if c { .. }`.";
    MISSING_BODY = 35, "a body is missing",
        "After `=`, `->` or `=>` there must be at least one statement. `()` does nothing.";
    MODULE_HEADER = 36, "a module header out of place",
        "`module A.B where` stands at the head of the file, once, before imports and declarations.";
    HANDLER_TYPE = 37, "a handler without its type",
        "A handler says which effect it handles: `handler h(x : Int) : Handler(Counter) / {IO} = { .. }`.";
    CLAUSE_ARROW = 38, "a handler clause without its arrow",
        "A clause of a handler is `operation(arguments) => body`, with braces around a body of several \
         statements. `->` is for arms and lambdas.";
    FIELD_DEFAULT = 39, "a default outside of a type declaration",
        "Only the fields of a declared record type may have defaults: `type T = { a : Int = 1 }`. An anonymous \
         record type has none.";
    NESTED_FORALL = 40, "a `forall` inside a type",
        "`forall` stands at the head of a signature only: types of higher rank are not part of the language.";
    CONSTRAINT = 41, "a malformed constraint",
        "What stands before `=>` are traits with their arguments: `Ord a =>` or `(Ord a, Show b) =>`; in brackets \
         `[a : Ord + Show]`.";
    BRACE_ARGUMENT = 43, "a record as a brace argument",
        "`f { .. }` passes a block to `f`. To pass a record, put it in parentheses: `f({a = 1, b = 2})`.";
    EXPECTED_SESSION = 44, "a session type is missing",
        "Session types are `!Msg -> S`, `?Msg -> S`, `select { l -> S, .. }`, `offer { l -> S, .. }`, `rec X. S`, \
         `dual S`, names and `end`.";
    EXPECTED_STEP = 45, "a protocol step is missing",
        "Protocols are made of `a -> b : Label(Type)`, `choice at a { | label -> .. }`, `rec X. ..`, variables, \
         calls of other protocols, and `end`.";
    REPEATED = 46, "a part that is written twice",
        "This part may stand only once.";
    NAMED_DOMAIN = 48, "a named parameter without an arrow",
        "`(x : A)` names a parameter of a flow's type and is followed by `->`. What a flow returns has no name.";
    FOREIGN_SYNTAX = 49, "syntax of another language",
        "The message names what Topos has in its place.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_ordered_distinct_and_in_range() {
        assert!(EXPLANATIONS.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert!(EXPLANATIONS.iter().all(|explanation| (1..100).contains(&explanation.code.0)));
    }

    #[test]
    fn explanations_are_paragraphs() {
        for explanation in EXPLANATIONS {
            assert!(!explanation.title.ends_with('.'), "{}", explanation.code);
            assert!(explanation.text.ends_with('.'), "{}", explanation.code);
            assert!(!explanation.text.contains("  "), "{}", explanation.code);
        }
        assert_eq!(explain(Code(4)).map(|explanation| explanation.code), Some(UNTERMINATED_TEXT));
        assert_eq!(explain(Code(99)), None);
    }
}
