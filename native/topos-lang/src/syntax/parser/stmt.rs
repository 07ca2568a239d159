//! Statements and blocks.

use super::{cursor, Delim, Mode, Parser};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast::{Block, Expr, ExprKind, Stmt, StmtKind, Type};
use crate::syntax::codes;
use crate::syntax::token::{range, TokenKind};

/// How many tokens a pattern before `<-` may have, so that looking for the arrow takes constant time.
const LONGEST_PATTERN: usize = 512;

/// How many tokens are looked at for the `}` of a `{` that is missing.
const BRACE_SEARCH: usize = 4096;

impl Parser<'_> {
    /// Statements up to a token that a phrase around waits for. Leaves a declaration, the next arm or member alone.
    pub(super) fn stmts(&mut self) -> Block {
        let mode = std::mem::replace(&mut self.mode, Mode { newlines: true, braces: true });
        let start = if self.stopped() { self.nothing() } else { self.span() };
        let mut stmts = Vec::new();
        while !self.block_ends(stmts.is_empty()) {
            if self.stray() {
                continue;
            }
            let before = self.pos;
            stmts.push(self.stmt());
            self.end_stmt(before);
        }
        self.mode = mode;
        let span = if stmts.is_empty() { self.nothing() } else { self.since(start) };
        Block { stmts, span }
    }

    /// After a statement: its line must end here.
    pub(super) fn end_stmt(&mut self, before: usize) {
        if self.pos > before && (self.newline() || self.block_ends(false)) {
            return;
        }
        if self.is_stray() && self.pos > before {
            return;
        }
        if self.last_error != Some(self.pos) && self.at(TokenKind::Do) {
            self.foreign_do(self.help_of_do());
        } else if self.last_error != Some(self.pos) {
            let found = self.found();
            let help = match self.kind() {
                TokenKind::Arrow if self.cursor[before].column == 0 => {
                    "a declaration begins with its keyword: `flow name : A -> B`"
                }
                TokenKind::LeftArrow => {
                    "a pattern stands before `<-`; to compare with a negative number write `a < -1`"
                }
                TokenKind::Fn | TokenKind::Backslash | TokenKind::If | TokenKind::Match => {
                    "put it in parentheses to pass it as an argument"
                }
                TokenKind::FatArrow => "clauses with `=>` stand in handlers; arms and lambdas have `->`",
                TokenKind::Lower if matches!(self.text(self.span()), "elif" | "elsif" | "elseif") => "write `else if`",
                TokenKind::Arrow if self.awaited(TokenKind::Bar) => "each arm begins with `|`: `| pattern -> body`",
                TokenKind::Arrow => "a function is `fn(x) -> ..`, in braces behind a call `{ | x -> .. }`",
                TokenKind::Bang => "negation is the function `not`",
                TokenKind::Question => "there is no `? :`; write `if c then a else b`",
                _ => "begin a new line for a new statement",
            };
            self.error(codes::STATEMENT_END, format!("the statement should end before {found}"), self.span(), help);
        }
        self.skip_line();
    }

    /// Whether a block ends before the current token.
    fn block_ends(&self, empty: bool) -> bool {
        let kind = self.kind();
        match kind {
            TokenKind::Eof => true,
            TokenKind::RParen
            | TokenKind::RBracket
            | TokenKind::RBrace
            | TokenKind::FormatClose
            | TokenKind::FormatText
            | TokenKind::FormatEnd
            | TokenKind::Comma
            | TokenKind::Bar
            | TokenKind::End
            | TokenKind::Else
            | TokenKind::In => self.awaited(kind),
            TokenKind::Lower if self.at_after() => true,
            _ if self.members.is_some() => self.at_member(!empty),
            _ => self.opens.is_empty() && self.newline() && cursor::is_declaration_keyword(kind),
        }
    }

    /// Whether the current token begins a member of the trait, instance or `impl` that is being read.
    pub(super) fn at_member(&self, inside: bool) -> bool {
        let Some(members) = self.members else { return false };
        if self.opens.len() != members.opens || (inside && !self.newline()) {
            return false;
        }
        match self.kind() {
            TokenKind::Flow => true,
            TokenKind::Lower => {
                let (mut ahead, mut depth) = (1, 0_u32);
                loop {
                    let token = self.raw(ahead);
                    match self.nth(ahead) {
                        TokenKind::Eof => return false,
                        _ if depth == 0 && token.newline => return false,
                        TokenKind::Colon if depth == 0 => return members.signatures && ahead == 1,
                        TokenKind::Eq | TokenKind::When if depth == 0 => {
                            // `x = e` is also a binding: there the column decides.
                            return ahead > 1 || self.raw(0).column <= members.column;
                        }
                        TokenKind::LParen | TokenKind::LBracket | TokenKind::LBrace => depth += 1,
                        TokenKind::RParen | TokenKind::RBracket | TokenKind::RBrace if depth > 0 => depth -= 1,
                        kind if depth == 0 && !is_pattern_token(kind) => return false,
                        _ if ahead > LONGEST_PATTERN => return false,
                        _ => {}
                    }
                    ahead += 1;
                }
            }
            _ => false,
        }
    }

    /// Whether the current token closes or continues something that is not there.
    fn is_stray(&self) -> bool {
        use TokenKind as K;
        match self.kind() {
            kind @ (K::RParen | K::RBracket | K::RBrace | K::Comma | K::End | K::Else | K::Then | K::Of | K::In) => {
                !self.awaited(kind)
            }
            _ => false,
        }
    }

    /// Reports and passes over a stray token.
    fn stray(&mut self) -> bool {
        if !self.is_stray() || matches!(self.nth(1), TokenKind::Eq | TokenKind::ColonEq | TokenKind::LeftArrow) {
            return false;
        }
        self.report_stray();
        true
    }

    pub(super) fn report_stray(&mut self) {
        let span = self.span();
        let found = self.found();
        match self.kind() {
            kind @ (TokenKind::RParen | TokenKind::RBracket | TokenKind::RBrace) => {
                let lost = self.lost;
                self.error(
                    codes::STRAY_CLOSER,
                    format!("this {found} closes nothing"),
                    span,
                    "delete it, or open its partner further up",
                );
                // It is the mistake itself, and what surrounds it pairs up: the rest of the declaration can be read.
                if self.surplus && kind != TokenKind::RBrace {
                    self.lost = lost;
                }
            }
            TokenKind::Comma => {
                self.error(
                    codes::STRAY_CLOSER,
                    "this `,` separates nothing",
                    span,
                    "statements are separated by line ends",
                );
            }
            TokenKind::End => self.error(
                codes::STRAY_KEYWORD,
                "this `end` ends nothing",
                span,
                "blocks in braces take no `end`; delete it",
            ),
            TokenKind::Else => self.error(
                codes::STRAY_KEYWORD,
                "this `else` has no `if`",
                span,
                "`else` follows the `}` of its `if` directly",
            ),
            _ => self.error(codes::STRAY_KEYWORD, format!("{found} is out of place"), span, "delete it"),
        }
        self.bump();
        self.last_error = Some(self.pos);
    }

    /// `{ stmts }`; says so if there is no brace.
    pub(super) fn block(&mut self, delim: Delim) -> Block {
        let unread = |span| Block { stmts: Vec::new(), span };
        self.nested(unread, |parser| {
            if !parser.at(TokenKind::LBrace) {
                return parser.block_without_brace(delim);
            }
            let start = parser.span();
            parser.open(delim);
            let mut block = parser.stmts();
            parser.close();
            block.span = parser.since(start);
            block
        })
    }

    /// After a missing `{`: if its `}` is there, as the indentation shows, the statements are read as meant.
    fn block_without_brace(&mut self, delim: Delim) -> Block {
        self.unexpected(codes::UNEXPECTED, "`{`");
        if !self.newline() || !self.has_closing_brace() {
            return Block { stmts: Vec::new(), span: self.nothing() };
        }
        self.await_closer(delim, self.span());
        let block = self.stmts();
        self.close();
        block
    }

    /// Whether the lines from here on are indented deeper than the line before, up to a `}` that is not.
    fn has_closing_brace(&self) -> bool {
        let Some(before) = self.pos.checked_sub(1) else { return false };
        let indent = self.cursor[before].indent;
        (0..BRACE_SEARCH)
            .map(|ahead| (self.nth(ahead), self.raw(ahead)))
            .find(|(kind, token)| *kind == TokenKind::Eof || (token.newline && token.column <= indent))
            .is_some_and(|(kind, token)| kind == TokenKind::RBrace && token.column == indent)
    }

    pub(super) fn stmt(&mut self) -> Stmt {
        let unread = |span| Stmt { kind: StmtKind::Expr(Expr { kind: ExprKind::Error, span }), span };
        self.nested(unread, |parser| {
            let start = parser.span();
            let kind = parser.stmt_kind();
            Stmt { kind, span: parser.since(start) }
        })
    }

    /// `while c {`: a call of a function of that name would have no name behind it on its line and a block after that.
    fn is_while(&self) -> bool {
        self.at(TokenKind::Lower)
            && matches!(self.text(self.span()), "while" | "until")
            && matches!(self.nth(1), TokenKind::Lower | TokenKind::LParen | TokenKind::True)
            && self.on_line(TokenKind::LBrace)
    }

    fn stmt_kind(&mut self) -> StmtKind {
        let start = self.span();
        if self.is_while() {
            let help = "what goes on calls itself: `flow f(n) = if n < 3 { .. f(n + 1) }`; `for x in xs { .. }` goes through a list";
            let message = format!("there is no `{}`", self.text(start));
            self.error(codes::FOREIGN_SYNTAX, message, start, help);
            // Its body is of a language with variables.
            self.lost = true;
        }
        match self.kind() {
            TokenKind::Let if self.nth(1) != TokenKind::Eq => return self.let_stmt(),
            TokenKind::For if self.nth(1) != TokenKind::Eq => return self.for_stmt(),
            TokenKind::Return if self.nth(1) != TokenKind::Eq => {
                self.bump();
                let value = (!self.newline() && !self.block_ends(true)).then(|| self.expr());
                return StmtKind::Return(value);
            }
            TokenKind::Lower if self.nth(1) == TokenKind::Eq => {
                let name = self.ident();
                self.bump();
                return StmtKind::Define { name, value: self.body_expr() };
            }
            kind if kind.is_keyword()
                && matches!(self.nth(1), TokenKind::Eq | TokenKind::ColonEq | TokenKind::LeftArrow)
                && !self.raw(1).newline =>
            {
                let name = self.keyword_as_name("the name of a variable");
                self.bump();
                return StmtKind::Define { name, value: self.expr() };
            }
            kind if cursor::is_declaration_keyword(kind) => {
                self.error(
                    codes::NOT_A_DECLARATION,
                    format!("{} cannot stand inside of a block", kind.describe()),
                    start,
                    "declarations stand at the top level; a local function is `let f = fn(x) -> ..`",
                );
                self.skip_line();
                return StmtKind::Expr(Expr { kind: ExprKind::Error, span: start });
            }
            _ if self.at_foreign_use() => {
                self.foreign_use();
                return self.stmt_kind();
            }
            _ if self.binds() => {
                let pattern = self.pattern();
                self.expect(TokenKind::LeftArrow);
                return StmtKind::Bind { pattern, value: self.body_expr() };
            }
            _ => {}
        }
        let expr = self.expr();
        self.after_expr_stmt(start, expr)
    }

    /// The right side of a binding.
    fn body_expr(&mut self) -> Expr {
        if self.stopped() || self.block_ends(true) {
            self.unexpected(codes::EXPECTED_EXPRESSION, "an expression");
            return Expr { kind: ExprKind::Error, span: self.nothing() };
        }
        self.expr()
    }

    /// `:=` after a place, and what people write in its stead.
    pub(super) fn after_expr_stmt(&mut self, start: Span, expr: Expr) -> StmtKind {
        match self.kind() {
            TokenKind::ColonEq => {
                if !is_place(&expr) {
                    self.emit(
                        Diagnostic::new(codes::NOT_A_PLACE, "this cannot be assigned to", expr.span)
                            .label(self.span(), "by this `:=`")
                            .help("`:=` assigns to a state variable, a field `x.f` or an index `x[k]`"),
                    );
                }
                self.bump();
                StmtKind::Assign { place: expr, value: self.body_expr() }
            }
            TokenKind::Eq => self.binding_of_expr(start, expr),
            TokenKind::LeftArrow if !self.newline() => {
                self.emit(
                    Diagnostic::new(codes::BINDING_TARGET, "this is not a pattern", expr.span)
                        .label(self.span(), "a pattern stands before `<-`")
                        .help("to compare with a negative number write `a < -1`, with blanks"),
                );
                self.bump();
                self.expr();
                StmtKind::Expr(Expr { kind: ExprKind::Error, span: self.since(start) })
            }
            TokenKind::Colon if !self.newline() => {
                let name = self.text(expr.span);
                self.error(
                    codes::BINDING_TARGET,
                    "a binding with a type begins with `let`",
                    self.span(),
                    &format!("write `let {name} : ..`"),
                );
                self.bump();
                self.ty();
                if self.eat(TokenKind::Eq) {
                    self.expr();
                }
                StmtKind::Expr(Expr { kind: ExprKind::Error, span: self.since(start) })
            }
            _ => StmtKind::Expr(expr),
        }
    }

    /// `e = ..` where `e` is no name.
    fn binding_of_expr(&mut self, start: Span, expr: Expr) -> StmtKind {
        let equals = self.span();
        let first = self.text(start);
        let contextual =
            matches!(first, "type" | "handler" | "config" | "impl" | "instance" | "session" | "protocol" | "extern");
        if contextual && matches!(expr.kind, ExprKind::Apply { .. }) {
            self.emit(
                Diagnostic::new(
                    codes::DECLARATION_COLUMN,
                    format!("a `{first}` declaration begins in column 1"),
                    start,
                )
                .help("move it to the left margin, out of the flow"),
            );
        } else if matches!(expr.kind, ExprKind::Apply { .. }) && matches!(first, "var" | "val" | "const" | "def") {
            let help = "write `x = ..` or `let x = ..`; there are no other words for it";
            self.error(codes::BINDING_TARGET, format!("a name is bound without `{first}`"), start, help);
        } else {
            let help = match &expr.kind {
                ExprKind::Tuple(_) | ExprKind::List(_) | ExprKind::Record(_) | ExprKind::Constructor(_) => {
                    format!("write `let {} = ..` to take it apart", self.short(expr.span))
                }
                ExprKind::Field { .. } | ExprKind::Index { .. } => {
                    format!("write `{} := ..` to assign to it, or `==` to compare", self.short(expr.span))
                }
                _ => "write `==` to compare".to_owned(),
            };
            self.emit(
                Diagnostic::new(codes::BINDING_TARGET, "`=` binds a name, and this is not one", expr.span)
                    .label(equals, "by this `=`")
                    .help(help),
            );
        }
        self.bump();
        self.expr();
        if self.at(TokenKind::Bar) {
            self.skip_line();
        }
        StmtKind::Expr(Expr { kind: ExprKind::Error, span: self.since(start) })
    }

    /// The source of a span if it is short and on one line.
    fn short(&self, span: Span) -> String {
        let text = self.source.get(range(span)).unwrap_or_default();
        if text.len() <= 40 && !text.contains('\n') {
            text.to_owned()
        } else {
            "..".to_owned()
        }
    }

    fn let_stmt(&mut self) -> StmtKind {
        let start = self.span();
        let (pattern, ty, value) = self.let_head();
        if !self.at(TokenKind::In) {
            return StmtKind::Let { pattern, ty, value };
        }
        self.bump();
        let body = Box::new(self.expr());
        let kind = ExprKind::LetIn { pattern, ty: ty.map(Box::new), value: Box::new(value), body };
        let expr = self.go_on(Expr { kind, span: self.since(start) });
        StmtKind::Expr(expr)
    }

    /// `let p : T = e`, without what follows.
    pub(super) fn let_head(&mut self) -> (crate::syntax::ast::Pattern, Option<Type>, Expr) {
        let span = self.bump();
        let pattern = if matches!(self.kind(), TokenKind::Colon | TokenKind::Eq) {
            self.pattern()
        } else if self.kind().is_keyword() && !self.newline() && matches!(self.nth(1), TokenKind::Eq | TokenKind::Colon)
        {
            let name = self.keyword_as_name("the name of a variable");
            let span = name.span;
            crate::syntax::ast::Pattern { kind: crate::syntax::ast::PatternKind::Var(name), span }
        } else {
            self.pattern()
        };
        let ty = if self.eat(TokenKind::Colon) { Some(self.ty()) } else { None };
        self.await_closer(Delim::Let, span);
        let value = match self.kind() {
            TokenKind::Eq => {
                self.bump();
                self.body_expr()
            }
            TokenKind::LeftArrow | TokenKind::ColonEq => {
                let found = self.found();
                self.error(
                    codes::UNEXPECTED,
                    format!("`let` binds with `=`, found {found}"),
                    self.span(),
                    "write `let p = e`, or `p <- e` without `let`",
                );
                self.bump();
                self.expr()
            }
            TokenKind::Lower | TokenKind::Upper | TokenKind::LParen
                if !self.newline() && self.last_error != Some(self.pos) =>
            {
                let message = format!("expected `=`, found {}", self.found());
                self.error(codes::UNEXPECTED, message, self.span(), self.help_of_let());
                self.skip(|parser| parser.at(TokenKind::Eq) || parser.newline());
                if self.eat(TokenKind::Eq) {
                    self.expr();
                }
                Expr { kind: ExprKind::Error, span: self.nothing() }
            }
            _ => {
                self.unexpected(codes::UNEXPECTED, "`=`");
                Expr { kind: ExprKind::Error, span: self.nothing() }
            }
        };
        self.opens.pop();
        (pattern, ty, value)
    }

    fn for_stmt(&mut self) -> StmtKind {
        self.bump();
        let pattern = self.pattern();
        if !self.eat(TokenKind::In) {
            self.unexpected_help(codes::UNEXPECTED, "`in`", "a loop over a collection is `for x in xs { .. }`");
            if self.at(TokenKind::LeftArrow) || self.at(TokenKind::Eq) || self.at(TokenKind::Colon) {
                self.bump();
            }
        }
        let iterable = self.head();
        let body = self.block(Delim::Block);
        StmtKind::For { pattern, iterable, body }
    }

    /// Whether the statement that begins here is `pattern <- ..`.
    fn binds(&self) -> bool {
        let mut depth = 0_u32;
        for ahead in 0..LONGEST_PATTERN {
            let token = self.raw(ahead);
            if depth == 0 && ahead > 0 && token.newline {
                return false;
            }
            match self.nth(ahead) {
                TokenKind::LeftArrow => return depth == 0 && ahead > 0,
                TokenKind::LParen | TokenKind::LBracket | TokenKind::LBrace => depth += 1,
                TokenKind::RParen | TokenKind::RBracket | TokenKind::RBrace if depth > 0 => depth -= 1,
                TokenKind::Eq | TokenKind::Arrow | TokenKind::Slash | TokenKind::Comma if depth > 0 => {}
                kind if is_pattern_token(kind) => {}
                _ => return false,
            }
        }
        false
    }
}

/// Whether a token may stand in a pattern, apart from brackets.
const fn is_pattern_token(kind: TokenKind) -> bool {
    use TokenKind as K;
    matches!(
        kind,
        K::Lower
            | K::Upper
            | K::Underscore
            | K::Int
            | K::Float
            | K::Duration
            | K::Text
            | K::True
            | K::False
            | K::Dot
            | K::Colon
            | K::ColonColon
            | K::Minus
            | K::As
    )
}

/// A variable, a field of a place, an index into a place.
fn is_place(expr: &Expr) -> bool {
    let mut expr = expr;
    loop {
        match &expr.kind {
            ExprKind::Var { .. } | ExprKind::Error => return true,
            ExprKind::Field { record: inner, .. } | ExprKind::Index { collection: inner, .. } => expr = inner,
            _ => return false,
        }
    }
}
