//! What stands in braces: a record, a block, arms.
//!
//! `{ x = ..` may begin a record or a block. Both begin with the same expression, so it is read once and what follows
//! it decides; nothing is read twice, however deeply braces are nested.

use super::{Delim, Mode, Parser};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast::{Block, Expr, ExprKind, FieldInit, Ident, Stmt, StmtKind};
use crate::syntax::codes;
use crate::syntax::token::TokenKind;

/// How far is looked for a comma that shows a record.
const LONGEST_RECORD: usize = 4096;

/// Where a brace stands, which decides what it is when it could be several things.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// An operand: a record if it can be one.
    Operand,
    /// The body of a flow, a clause or a `try`: `{}` and `{ x }` are blocks.
    Body,
    /// Behind a function: a thunk.
    Function,
    /// Behind a constructor: a record if it can be one, else a thunk.
    Constructor,
}

impl Parser<'_> {
    /// A brace as an operand, or as the body it was announced to be.
    pub(super) fn brace(&mut self) -> Expr {
        let place = if self.body_brace == Some(self.pos) { Place::Body } else { Place::Operand };
        self.brace_at(place)
    }

    /// A brace behind a function or a constructor.
    pub(super) fn trailing_brace(&mut self, constructor: bool) -> Expr {
        self.brace_at(if constructor { Place::Constructor } else { Place::Function })
    }

    /// Whether the `{` here can only begin a record; for heads, where a block would be the body.
    pub(super) fn brace_is_operand(&self) -> bool {
        self.nth(1) == TokenKind::Lower
            && matches!(self.nth(2), TokenKind::Comma | TokenKind::Colon | TokenKind::Eq | TokenKind::With)
    }

    fn brace_at(&mut self, place: Place) -> Expr {
        self.nested(super::expr::error, |parser| {
            let start = parser.span();
            let mode = std::mem::replace(&mut parser.mode, Mode { newlines: true, braces: true });
            // A record until a statement shows that it is a block.
            parser.open(Delim::Record);
            let kind = parser.in_braces(start, place);
            parser.close();
            parser.mode = mode;
            Expr { kind: with_span(kind, parser.since(start)), span: parser.since(start) }
        })
    }

    fn decide(&mut self, delim: Delim) {
        if let Some(open) = self.opens.last_mut() {
            open.delim = delim;
        }
    }

    fn in_braces(&mut self, start: Span, place: Place) -> ExprKind {
        let next = self.nth(1);
        match self.kind() {
            TokenKind::RBrace => match place {
                Place::Operand | Place::Constructor => ExprKind::Record(Vec::new()),
                Place::Body => ExprKind::Do(Block { stmts: Vec::new(), span: start }),
                Place::Function => ExprKind::Thunk(Block { stmts: Vec::new(), span: start }),
            },
            TokenKind::Bar => {
                self.decide(Delim::Arms);
                ExprKind::MatchLambda(self.arms())
            }
            TokenKind::Lower if matches!(next, TokenKind::Colon | TokenKind::Comma) => self.sure_record(place),
            TokenKind::Lower if next == TokenKind::RBrace && matches!(place, Place::Operand | Place::Constructor) => {
                self.sure_record(place)
            }
            TokenKind::Text if matches!(next, TokenKind::Colon | TokenKind::Eq | TokenKind::FatArrow) => {
                self.sure_record(place)
            }
            TokenKind::Dot => self.sure_record(place),
            kind if kind.is_keyword()
                && matches!(next, TokenKind::Eq | TokenKind::Colon | TokenKind::Comma)
                && place != Place::Function =>
            {
                self.sure_record(place)
            }
            TokenKind::Lower if next == TokenKind::Eq => self.binding_or_field(place),
            _ => self.statement_or_record(place),
        }
    }

    /// `{ x = e` has been opened: what follows `e` says whether `x` is a field or a variable.
    fn binding_or_field(&mut self, place: Place) -> ExprKind {
        let before = self.pos;
        let name = self.ident();
        self.bump();
        let value = if self.at(TokenKind::RBrace) || self.at(TokenKind::Comma) {
            self.unexpected(codes::EXPECTED_EXPRESSION, "an expression");
            super::expr::error(self.nothing())
        } else {
            self.expr()
        };
        if self.newline() && self.fields_follow() {
            self.unexpected(codes::UNEXPECTED, "`,`");
            return ExprKind::Record(self.fields_after(FieldInit { name, value, pun: false }));
        }
        let field = self.at(TokenKind::Comma) || (self.at(TokenKind::RBrace) && place != Place::Function);
        if field {
            if place == Place::Function {
                self.brace_argument();
            }
            return ExprKind::Record(self.more_fields(vec![FieldInit { name, value, pun: false }]));
        }
        let span = name.span.to(value.span);
        self.block_from(before, Stmt { kind: StmtKind::Define { name, value }, span }, place)
    }

    /// Whether a comma, a line end and `x =` follow in these braces, which shows a record.
    fn fields_follow(&self) -> bool {
        let mut depth = 0_u32;
        for ahead in 0..LONGEST_RECORD {
            match self.nth(ahead) {
                TokenKind::Eof => return false,
                TokenKind::LParen | TokenKind::LBracket | TokenKind::LBrace => depth += 1,
                TokenKind::RParen | TokenKind::RBracket | TokenKind::RBrace => match depth.checked_sub(1) {
                    Some(less) => depth = less,
                    None => return false,
                },
                TokenKind::Comma if depth == 0 && self.raw(ahead + 1).newline => {
                    return self.nth(ahead + 1) == TokenKind::Lower
                        && matches!(self.nth(ahead + 2), TokenKind::Eq | TokenKind::Colon);
                }
                _ => {}
            }
        }
        false
    }

    fn fields_after(&mut self, first: FieldInit) -> Vec<FieldInit> {
        self.mode.newlines = false;
        let mut fields = vec![first];
        fields.append(&mut self.items(Delim::Record, &mut Self::field));
        fields
    }

    /// Something that is a block unless `with`, or a comma, follows the first expression.
    fn statement_or_record(&mut self, place: Place) -> ExprKind {
        let before = self.pos;
        self.decide(Delim::Block);
        // A comma here is not another block's: it would show a record.
        let stmt = if self.stray_first() { return ExprKind::Error } else { self.stmt() };
        match (stmt.kind, self.kind()) {
            (StmtKind::Expr(record), TokenKind::With) if !self.newline() => {
                self.decide(Delim::Record);
                self.bump();
                self.mode.newlines = false;
                let fields = self.items(Delim::Record, &mut Self::field);
                if fields.is_empty() {
                    self.unexpected(codes::UNEXPECTED, "a field");
                }
                ExprKind::Update { record: Box::new(record), fields }
            }
            (StmtKind::Expr(_), kind @ (TokenKind::Comma | TokenKind::Bar)) if place != Place::Function => {
                let help = if kind == TokenKind::Bar {
                    "to change fields of a record write `{r with a = 1}`"
                } else {
                    "name the field, `{a = e}`, or write a tuple `(a, b)`"
                };
                self.error(codes::RECORD_FIELD, "this field has no name", stmt.span, help);
                self.skip(|_| false);
                self.last_error = Some(self.pos);
                ExprKind::Error
            }
            (kind, _) => self.block_from(before, Stmt { kind, span: stmt.span }, place),
        }
    }

    fn stray_first(&mut self) -> bool {
        let stray = self.at(TokenKind::Comma);
        if stray {
            self.unexpected(codes::RECORD_FIELD, "a field or a statement");
            self.skip(|_| false);
        }
        stray
    }

    /// A block whose first statement has been read.
    fn block_from(&mut self, before: usize, first: Stmt, place: Place) -> ExprKind {
        self.decide(Delim::Block);
        self.end_stmt(before);
        let mut stmts = vec![first];
        stmts.append(&mut self.stmts().stmts);
        if place != Place::Function
            && stmts.len() > 1
            && stmts.iter().all(|stmt| matches!(stmt.kind, StmtKind::Define { .. }))
        {
            return self.fields_without_commas(stmts);
        }
        // The span is set once the brace is closed.
        let block = Block { stmts, span: Span::default() };
        match place {
            Place::Operand | Place::Body => ExprKind::Do(block),
            Place::Function | Place::Constructor => ExprKind::Thunk(block),
        }
    }

    /// A block of bindings has no value: its author meant a record.
    fn fields_without_commas(&mut self, stmts: Vec<Stmt>) -> ExprKind {
        if let Some(first) = stmts.first() {
            let end = Span::new(first.span.end, first.span.end);
            self.emit_always(
                Diagnostic::new(codes::RECORD_FIELD, "the fields of a record are separated by commas", end)
                    .primary("expected `,` here")
                    .help("if this is a block, its last statement must be an expression"),
            );
        }
        self.commas.extend(stmts.windows(2).map(|pair| Span::new(pair[0].span.end, pair[1].span.start)));
        let fields = stmts.into_iter().filter_map(|stmt| match stmt.kind {
            StmtKind::Define { name, value } => Some(FieldInit { name, value, pun: false }),
            _ => None,
        });
        ExprKind::Record(fields.collect())
    }

    fn sure_record(&mut self, place: Place) -> ExprKind {
        if place == Place::Function {
            self.brace_argument();
        }
        ExprKind::Record(self.more_fields(Vec::new()))
    }

    fn brace_argument(&mut self) {
        let open = self.opens.last().map_or(self.span(), |open| open.span);
        self.emit_always(
            Diagnostic::new(codes::BRACE_ARGUMENT, "a `{` behind a function opens a block, not a record", open)
                .help("put the record in parentheses: `f({a = 1, b = 2})`"),
        );
    }

    /// The fields behind those that have been read.
    fn more_fields(&mut self, mut fields: Vec<FieldInit>) -> Vec<FieldInit> {
        self.mode.newlines = false;
        if fields.is_empty() || self.eat(TokenKind::Comma) {
            fields.append(&mut self.items(Delim::Record, &mut Self::field));
        }
        fields
    }

    /// `a = e`, `a: e`, `a`.
    fn field(&mut self) -> FieldInit {
        let name = match self.kind() {
            TokenKind::Text => {
                let span = self.span();
                let name = self.text(span).trim_matches('"').to_owned();
                if matches!(self.nth(1), TokenKind::Comma | TokenKind::RBrace) {
                    let help =
                        "a tuple is written `(a, b)`, a list `[a, b]`; a record names its fields: `{ name = .. }`";
                    self.error(codes::RECORD_FIELD, "a text is no field of a record", span, help);
                } else {
                    let help = format!("write `{name} = ..`");
                    self.error(codes::RECORD_FIELD, "field names are not quoted", span, &help);
                }
                self.bump();
                Ident { name, span }
            }
            TokenKind::Dot => {
                self.error(
                    codes::RECORD_FIELD,
                    "a record cannot be spread into another",
                    self.span(),
                    "to change fields of a record write `{r with a = 1}`",
                );
                self.skip(|parser| parser.at(TokenKind::Comma));
                return self.missing_field();
            }
            _ => self.lower("the name of a field"),
        };
        if name.name.is_empty() {
            return self.missing_field();
        }
        match self.kind() {
            TokenKind::Eq | TokenKind::Colon => {
                self.bump();
            }
            TokenKind::FatArrow | TokenKind::ColonEq | TokenKind::LeftArrow | TokenKind::EqEq | TokenKind::Arrow => {
                let found = self.found();
                self.error(
                    codes::RECORD_FIELD,
                    format!("a field is given its value with `=`, found {found}"),
                    self.span(),
                    &format!("write `{} = ..`", name.name),
                );
                self.bump();
            }
            _ => {
                let value = Expr { kind: ExprKind::Var { qualifier: Vec::new(), name: name.clone() }, span: name.span };
                return FieldInit { name, value, pun: true };
            }
        }
        let value = self.expr();
        FieldInit { name, value, pun: false }
    }

    fn missing_field(&self) -> FieldInit {
        let span = self.nothing();
        FieldInit { name: Ident { name: String::new(), span }, value: super::expr::error(span), pun: false }
    }
}

fn with_span(kind: ExprKind, span: Span) -> ExprKind {
    match kind {
        ExprKind::Do(block) => ExprKind::Do(Block { span, ..block }),
        ExprKind::Thunk(block) => ExprKind::Thunk(Block { span, ..block }),
        kind => kind,
    }
}
