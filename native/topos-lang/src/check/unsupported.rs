//! What this version does not compile is an error of its own, one code a construct.

use crate::codes;
use crate::diagnostic::{Code, Diagnostic, Span};

fn diagnostic(code: Code, span: Span) -> Diagnostic {
    let explanation = codes::explain(code);
    let title = explanation.map_or("not supported yet", |e| e.title);
    let diagnostic = Diagnostic::new(code, title, span);
    match explanation {
        Some(e) => {
            let text = e.text.trim_end_matches('.');
            let mut chars = text.chars();
            let first = chars.next().map(|c| c.to_lowercase().to_string()).unwrap_or_default();
            diagnostic.help(format!("{first}{}", chars.as_str()))
        }
        None => diagnostic,
    }
}

macro_rules! unsupported {
    ($($name:ident = $code:ident),* $(,)?) => {
        $(pub(super) fn $name(span: Span) -> Diagnostic { diagnostic(codes::$code, span) })*
    };
}

unsupported! {
    protocol = NO_PROTOCOL, session = NO_SESSION, try_ = NO_TRY, for_ = NO_FOR, return_ = NO_RETURN,
    loop_ = NO_LOOP, constraint = NO_CONSTRAINT, index = NO_INDEX,
}
