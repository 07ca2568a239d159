//! Habits of other languages: what people write who come from Koka, Gleam, Elixir, Haskell or Rust. One habit is one mistake, and
//! its message says how Topos writes it.

use super::Parser;
use crate::syntax::ast::Type;
use crate::syntax::codes;
use crate::syntax::token::TokenKind;

impl Parser<'_> {
    /// What helps where an expression should begin and the current token begins none.
    pub(super) fn foreign_operand(&self) -> Option<&'static str> {
        let glued = !self.raw(1).spaced;
        let before = self.pos.checked_sub(1).map_or(TokenKind::Eof, |before| self.cursor[before].kind);
        match (self.kind(), self.nth(1)) {
            (TokenKind::Colon, TokenKind::Lower | TokenKind::Upper) if glued => Some(
                "there are no atoms: declare a type with constructors, `shape Word = | Add(Int)`, and write `Add(1)`",
            ),
            (TokenKind::Percent, TokenKind::LBrace) if glued => {
                Some("a record is `{ a = 1 }` and a map `Map.from_list([(key, value)])`")
            }
            (TokenKind::Bar | TokenKind::BarBar, _) if before == TokenKind::LParen => {
                Some("a function is written `fn(x) -> ..`")
            }
            (TokenKind::Eq, _)
                if matches!(before, TokenKind::Plus | TokenKind::Minus | TokenKind::Star | TokenKind::Slash)
                    && self.glued() =>
            {
                Some(
                    "no variable changes: a sum over a list is a fold, what lasts is the `state` of a handler; \
                     `let x = x + 1` binds a name anew",
                )
            }
            (TokenKind::Where, _) => Some(
                "bind with `let` before the expression that needs it; a function of its own is a flow of the module",
            ),
            (TokenKind::GreaterEq, _) if before == TokenKind::Greater && self.glued() => {
                Some("there is no `>>=`: write `chain(f, m)`, or take the value apart with `match`")
            }
            _ => None,
        }
    }

    /// Reports `do` behind what takes a block in braces. Its `end` and its branches are the same mistake.
    pub(super) fn foreign_do(&mut self, help: &str) {
        self.error(codes::FOREIGN_SYNTAX, "a block stands in braces, without `do`", self.span(), help);
        self.lost = true;
    }

    /// What helps at a `do` behind a statement.
    pub(super) fn help_of_do(&self) -> &'static str {
        match self.text(self.previous()) {
            "receive" => "write `receive { | pattern -> .. }`",
            "cond" => "write `if a { .. } else if b { .. } else { .. }`",
            _ => "write `{ .. }`; a function takes a block behind its arguments, `spawn { .. }`",
        }
    }

    /// Whether `use x <- f(..)` stands here.
    pub(super) fn at_foreign_use(&self) -> bool {
        self.at_word("use")
            && matches!(self.nth(1), TokenKind::Lower | TokenKind::Underscore)
            && self.nth(2) == TokenKind::LeftArrow
            && !self.raw(1).newline
    }

    /// Words between operands that are operators elsewhere.
    pub(super) fn foreign_operator(&self) -> Option<&'static str> {
        match self.text(self.span()) {
            "and" => Some("`and` is written `&&`"),
            "or" => Some("`or` is written `||`"),
            _ => None,
        }
    }

    /// Reports `use`, and passes over it.
    pub(super) fn foreign_use(&mut self) {
        let help = "pass what follows as a function: `f(fn(x) -> ..)`, or as a block, `f { | x -> .. }`";
        self.error(codes::FOREIGN_SYNTAX, "there is no `use`", self.span(), help);
        self.bump();
    }

    /// What helps behind `let` and a name that is none, as in `let mut x`.
    pub(super) fn help_of_let(&self) -> &'static str {
        match self.text(self.previous()) {
            "mut" => "no variable changes: a later `let` of the same name binds it anew, and a handler's `state` can be assigned",
            "assert" => "the pattern of a `let` fits always; take what may not fit apart with `match`",
            "rec" => "a function that calls itself is a flow of the module",
            _ => "a local function is `let f = fn(x) -> ..`",
        }
    }

    /// `<A, B>` behind the name of a type: reports it, and reads the arguments as meant.
    pub(super) fn angle_arguments(&mut self, name: &str) -> Vec<Type> {
        let mut args = Vec::new();
        let begins =
            matches!(self.nth(1), TokenKind::Upper | TokenKind::Lower | TokenKind::LParen | TokenKind::LBracket);
        if !(self.at(TokenKind::Less) && self.glued() && begins) {
            return args;
        }
        let help = format!("write `{name}(..)`, or `{name} a`");
        self.error(codes::FOREIGN_SYNTAX, "the arguments of a type stand in parentheses", self.span(), &help);
        self.bump();
        loop {
            args.push(self.ty());
            if !self.eat(TokenKind::Comma) {
                break;
            }
        }
        self.eat(TokenKind::Greater);
        args
    }

    /// What helps at something that begins no declaration.
    pub(super) fn foreign_declaration(&self) -> &'static str {
        let token = self.raw(0);
        let binding = matches!(
            self.nth(1),
            TokenKind::Eq | TokenKind::Colon | TokenKind::ColonColon | TokenKind::LParen | TokenKind::Lower
        );
        let next = self.raw(1);
        match (token.kind, self.text(token.span)) {
            (TokenKind::Lower, "pub" | "public") => match self.text(next.span) {
                "fn" | "fun" => "everything is public unless it is `private`; a function is declared with `flow`: `flow f(x) = ..`",
                "struct" | "enum" | "type" => {
                    "everything is public unless it is `private`; a type is declared with `type`: `type T = | A | B(Int)`"
                }
                _ => "everything is public unless it is `private`",
            },
            (TokenKind::Lower, "def" | "defp" | "fun" | "func" | "function") | (TokenKind::Fn | TokenKind::Let, _) => {
                "a function is declared with `flow`: `flow f(x) = ..`"
            }
            (TokenKind::Lower, "defmodule" | "mod" | "namespace") => {
                "a file is one module, which its first line may name: `module Shop.Cart`"
            }
            (TokenKind::Lower, "data" | "struct" | "enum" | "record" | "newtype" | "alias" | "defstruct") => {
                "a type is declared with `type`: `type T = | A | B(Int)` or `type T = { a : Int }`"
            }
            (TokenKind::Lower, "class" | "interface") => "a type class is declared with `trait`: `trait T a where ..`",
            (TokenKind::Lower, "use" | "open" | "require" | "include") => {
                "a module is imported with `import`: `import A.B as C`"
            }
            (TokenKind::Lower, "async") => {
                "leave it out: every flow may wait, and `Topos.Async` runs things side by side"
            }
            (TokenKind::Lower, "var" | "val" | "const") => "a constant is a flow: `flow name = ..`",
            (TokenKind::Bar, _) => "the guard of a flow stands in a clause of its own: `flow f n when n > 10 = ..`",
            (TokenKind::At, _) => "there are no attributes: a constant is a flow, documentation begins with `---`",
            (TokenKind::Lower, _) if binding => "a function is declared with `flow`, a constant too: `flow name = ..`",
            _ => "expressions and bindings belong into the body of a flow",
        }
    }
}
