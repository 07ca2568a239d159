//! Operands: literals, brackets, and the expressions that begin with a keyword.

use super::{Delim, Parser};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast::{Arm, Block, Expr, ExprKind, Ident, Literal, Param, Path, Stmt, StmtKind, TryClauses};
use crate::syntax::codes;
use crate::syntax::token::TokenKind;

/// Before the time of a `receive` or a `?`.
const AFTER: &str = "after";

impl Parser<'_> {
    /// An operand without what may stand behind it.
    pub(super) fn primary(&mut self) -> Expr {
        let start = self.span();
        let kind = match self.kind() {
            TokenKind::Lower if self.at_word("atomic") && self.nth(1) == TokenKind::LBrace && self.mode.braces => {
                self.bump();
                ExprKind::Atomic(self.block(Delim::Block))
            }
            TokenKind::Lower if self.at_receive() => self.receive(),
            TokenKind::Lower => ExprKind::Var { qualifier: Vec::new(), name: self.ident() },
            TokenKind::Upper => return self.upper_expr(),
            TokenKind::LParen => return self.parenthesised(),
            TokenKind::LBracket => ExprKind::List(self.list(Delim::Bracket, Self::element)),
            TokenKind::LBrace => return self.brace(),
            TokenKind::FormatStart => return self.format_string(),
            TokenKind::Match => self.match_expr(),
            TokenKind::If => self.if_expr(),
            TokenKind::Fn => self.fn_expr(),
            TokenKind::Backslash => self.backslash(),
            TokenKind::Perform => self.perform(),
            TokenKind::With => self.with_expr(),
            TokenKind::Try => self.try_expr(),
            TokenKind::Do => self.do_expr(),
            TokenKind::Loop => {
                self.bump();
                ExprKind::Loop(self.block(Delim::Block))
            }
            TokenKind::Forall => self.forall_expr(),
            TokenKind::Let => self.let_in(),
            _ => match self.literal() {
                Some(literal) => ExprKind::Literal(literal),
                None => return self.not_an_operand(),
            },
        };
        Expr { kind, span: self.since(start) }
    }

    fn not_an_operand(&mut self) -> Expr {
        let span = self.span();
        match self.kind() {
            TokenKind::Case => {
                self.error(codes::FOREIGN_SYNTAX, "there is no `case`", span, "write `match x { | pattern -> .. }`");
                // Its arms have no bars and no end: that is the same mistake.
                self.lost = true;
                let kind = self.match_expr();
                return Expr { kind, span: self.since(span) };
            }
            TokenKind::Underscore => {
                self.error(
                    codes::EXPECTED_EXPRESSION,
                    "`_` is a pattern and has no value",
                    span,
                    "give the value a name to use it, or write `fn(x) -> ..` for a function",
                );
                self.bump();
            }
            kind @ (TokenKind::Return | TokenKind::For) => {
                self.error(
                    codes::EXPECTED_EXPRESSION,
                    format!("{} is a statement, not an expression", kind.describe()),
                    span,
                    "put it on a line of its own, or into braces: `if c { return x }`",
                );
                let stmt = self.stmt();
                let block = Block { span: stmt.span, stmts: vec![stmt] };
                return Expr { span: block.span, kind: ExprKind::Do(block) };
            }
            kind if kind.is_keyword()
                && !self.newline()
                && matches!(
                    self.nth(1),
                    TokenKind::Comma | TokenKind::RParen | TokenKind::RBracket | TokenKind::Dot
                ) =>
            {
                self.keyword_as_name("the name of a variable");
            }
            TokenKind::Bang => {
                self.error(codes::FOREIGN_SYNTAX, "there is no prefix `!`", span, "negation is the function `not`");
                self.bump();
                return self.primary_again();
            }
            kind => {
                let foreign = self.foreign_operand();
                let help = foreign.unwrap_or_else(|| match kind {
                    TokenKind::Eq => "`=` binds a name, once; `==` compares",
                    _ if self.pos > 0 && self.cursor[self.pos - 1].kind == TokenKind::LParen && self.at_infix() => {
                        "an operator is no function, and cannot lack an operand: write `fn(x) -> x + 1`"
                    }
                    _ => "a value belongs here: a name, a literal, a call, or a block in braces",
                });
                self.unexpected_help(codes::EXPECTED_EXPRESSION, "an expression", help);
                // What belongs to the habit cannot be read either.
                self.lost |= foreign.is_some();
                return super::expr::error(self.nothing());
            }
        }
        super::expr::error(span)
    }

    fn primary_again(&mut self) -> Expr {
        self.nested(super::expr::error, Self::primary)
    }

    /// `()`, `(e)`, `(e : T)`, `(a, b)`.
    fn parenthesised(&mut self) -> Expr {
        let start = self.span();
        let mut parts = self.list(Delim::Paren, |parser| {
            let expr = parser.argument();
            if !parser.eat(TokenKind::Colon) {
                return expr;
            }
            let ty = parser.ty();
            let span = expr.span.to(ty.span);
            Expr { kind: ExprKind::Annotated { expr: Box::new(expr), ty: Box::new(ty) }, span }
        });
        let span = self.since(start);
        match (parts.len(), parts.pop()) {
            (0, _) | (_, None) => Expr { kind: ExprKind::Literal(Literal::Unit), span },
            (1, Some(expr)) => expr,
            (_, Some(last)) => {
                parts.push(last);
                Expr { kind: ExprKind::Tuple(parts), span }
            }
        }
    }

    fn element(&mut self) -> Expr {
        let expr = self.argument();
        if self.at(TokenKind::Bar) {
            self.error(
                codes::RECORD_FIELD,
                "a list has no `|`",
                self.span(),
                "put an element before a list with `x :: xs`; build one with `List.map` or `List.filter`",
            );
            self.skip(|_| false);
            self.last_error = Some(self.pos);
        }
        expr
    }

    fn match_expr(&mut self) -> ExprKind {
        let keyword = self.bump();
        let mut scrutinees = vec![self.head()];
        while self.eat(TokenKind::Comma) {
            scrutinees.push(self.head());
        }
        let arms = match self.kind() {
            TokenKind::LBrace => self.braced_arms(),
            TokenKind::Of | TokenKind::Bar => {
                self.await_closer(Delim::End, keyword);
                self.eat(TokenKind::Of);
                let arms = self.arms();
                self.close();
                arms
            }
            TokenKind::With => self.arms_with(keyword),
            _ => {
                self.unexpected_help(codes::UNEXPECTED, "`{` or `of`", "write `match x { | pattern -> .. }`");
                Vec::new()
            }
        };
        ExprKind::Match { scrutinees, arms }
    }

    /// `match x with | p -> e`, as other languages have it: one mistake, whether an `end` follows or not.
    fn arms_with(&mut self, keyword: Span) -> Vec<Arm> {
        let help = "write `match x { | pattern -> .. }`";
        self.error(codes::FOREIGN_SYNTAX, "`match` is followed by `{` or `of`", self.span(), help);
        self.bump();
        if self.at(TokenKind::LBrace) {
            return self.braced_arms();
        }
        self.await_closer(Delim::End, keyword);
        let arms = self.arms();
        self.opens.pop();
        self.eat(TokenKind::End);
        arms
    }

    /// `{ | p -> e .. }`; the current token is the brace.
    fn braced_arms(&mut self) -> Vec<Arm> {
        self.open(Delim::Arms);
        let arms = self.arms();
        self.close();
        arms
    }

    /// Whether `receive` and its arms stand here; elsewhere it is a name.
    fn at_receive(&self) -> bool {
        self.at_word("receive")
            && self.mode.braces
            && self.nth(1) == TokenKind::LBrace
            && (self.nth(2) == TokenKind::Bar
                || (self.nth(2) == TokenKind::Lower && self.text(self.raw(2).span) == AFTER))
    }

    /// Whether `after` stands here, and something waits for it: the time of a `receive` or a `?`.
    pub(super) fn at_after(&self) -> bool {
        let waits =
            self.asking == Some(self.opens.len()) || self.opens.last().is_some_and(|o| o.delim == Delim::Receive);
        waits && self.at_word(AFTER)
    }

    /// `receive { | p -> e  after t -> e }`.
    fn receive(&mut self) -> ExprKind {
        self.bump();
        self.open(Delim::Receive);
        let outer = self.asking.take();
        let arms = if self.at_after() { Vec::new() } else { self.arms() };
        let after = self.at_after().then(|| {
            self.bump();
            let time = self.expr();
            if !self.eat(TokenKind::Arrow) {
                self.unexpected_help(codes::ARM_ARROW, "`->`", "write `after 5s -> ..`");
            }
            let body = self.stmts();
            if body.stmts.is_empty() {
                self.unexpected_help(codes::MISSING_BODY, "a statement", "`()` does nothing");
            }
            Box::new((time, body))
        });
        self.asking = outer;
        self.close();
        ExprKind::Receive { arms, after }
    }

    /// Arms up to the closer of the innermost phrase.
    pub(super) fn arms(&mut self) -> Vec<Arm> {
        let mut arms = Vec::new();
        if !self.at(TokenKind::Bar) && !self.is_closer() && !self.at(TokenKind::End) && !self.stopped() {
            self.wrong(codes::ARM_BAR, "`|`", "each arm begins with `|`, the first one too");
            // All arms may lack their bar: that is one mistake.
            self.skip(|parser| {
                parser.at(TokenKind::Bar) || (parser.at(TokenKind::End) && parser.awaited(TokenKind::End))
            });
        }
        while self.at(TokenKind::Bar) {
            arms.push(self.arm());
        }
        arms
    }

    pub(super) fn arm(&mut self) -> Arm {
        let unread =
            |span| Arm { patterns: Vec::new(), guards: Vec::new(), body: Block { stmts: Vec::new(), span }, span };
        self.nested(unread, |parser| {
            let start = parser.bump();
            let patterns = parser.alternatives();
            let guards = parser.guards(true);
            parser.arm_arrow();
            let body = parser.stmts();
            if body.stmts.is_empty() {
                parser.unexpected_help(codes::MISSING_BODY, "a statement", "`()` does nothing");
            }
            Arm { patterns, guards, body, span: parser.since(start) }
        })
    }

    /// `when e, e`, if it is there; `slips` says that `=` can only be a slip behind it.
    pub(super) fn guards(&mut self, slips: bool) -> Vec<Expr> {
        let mut guards = Vec::new();
        if self.at(TokenKind::If) && !self.newline() {
            self.error(
                codes::FOREIGN_SYNTAX,
                "a guard begins with `when`",
                self.span(),
                "write `| pattern when condition -> ..`",
            );
        } else if !self.at(TokenKind::When) {
            return guards;
        }
        self.bump();
        loop {
            let guard = self.expr();
            // The guards of a flow are followed by its `=`.
            guards.push(if slips { self.comparison_slip(guard) } else { guard });
            if !self.eat(TokenKind::Comma) {
                return guards;
            }
        }
    }

    fn arm_arrow(&mut self) {
        if self.eat(TokenKind::Arrow) {
            return;
        }
        let found = self.found();
        match self.kind() {
            TokenKind::Colon if self.on_line(TokenKind::Arrow) => {
                let help = "a list is taken apart with `::`, as in `| first :: rest -> ..`";
                self.error(codes::ARM_ARROW, "there is no pattern with `:`", self.span(), help);
                self.skip(|parser| parser.at(TokenKind::Arrow));
                self.bump();
            }
            TokenKind::FatArrow | TokenKind::Colon | TokenKind::Eq | TokenKind::Then => {
                self.error(
                    codes::ARM_ARROW,
                    format!("an arm has `->` before its body, found {found}"),
                    self.span(),
                    "write `| pattern -> ..`",
                );
                self.bump();
            }
            _ => {
                let help = "an arm is `| pattern -> body`; to compare or compute, bind a name and add `when condition`";
                self.unexpected_help(codes::ARM_ARROW, "`->`", help);
                if !self.newline() && self.on_line(TokenKind::Arrow) {
                    self.skip(|parser| parser.at(TokenKind::Arrow));
                    self.bump();
                }
            }
        }
    }

    /// Whether a token of that kind follows on this line, outside of brackets and before the next arm or lambda.
    pub(super) fn on_line(&self, wanted: TokenKind) -> bool {
        let mut depth = 0_u32;
        for ahead in 0..512 {
            match self.nth(ahead) {
                TokenKind::Eof => return false,
                _ if ahead > 0 && self.raw(ahead).newline => return false,
                kind if depth == 0 && kind == wanted => return true,
                TokenKind::Bar | TokenKind::Fn | TokenKind::Backslash if depth == 0 => return false,
                TokenKind::LParen | TokenKind::LBracket | TokenKind::LBrace => depth += 1,
                TokenKind::RParen | TokenKind::RBracket | TokenKind::RBrace => match depth.checked_sub(1) {
                    Some(less) => depth = less,
                    None => return false,
                },
                _ => {}
            }
        }
        false
    }

    fn if_expr(&mut self) -> ExprKind {
        let keyword = self.bump();
        let condition = Box::new(self.head());
        if self.at(TokenKind::Then) {
            return self.if_then(keyword, condition);
        }
        if self.at(TokenKind::Do) {
            self.foreign_do("write `if c { .. } else { .. }`, without `end`");
        } else if !self.at(TokenKind::LBrace) && !self.newline() && !self.stopped() {
            self.unexpected_help(
                codes::UNEXPECTED,
                "`{` or `then`",
                self.foreign_operator().unwrap_or("write `if c { .. } else { .. }` or `if c then a else b`"),
            );
        }
        let then = self.block(Delim::IfBlock);
        let otherwise = if self.eat(TokenKind::Else) { Some(self.else_branch()) } else { None };
        ExprKind::If { condition, then, otherwise }
    }

    fn if_then(&mut self, keyword: Span, condition: Box<Expr>) -> ExprKind {
        self.bump();
        self.await_closer(Delim::Then, keyword);
        let then = self.expr();
        self.opens.pop();
        let otherwise = if self.eat(TokenKind::Else) {
            Some(self.else_branch())
        } else {
            let diagnostic = Diagnostic::new(codes::MISSING_ELSE, "this `if .. then` has no `else`", keyword)
                .help("write `if c { .. }` to do something only when the condition holds");
            self.emit(diagnostic);
            None
        };
        ExprKind::If { condition, then: single(then), otherwise }
    }

    fn else_branch(&mut self) -> Block {
        if self.at(TokenKind::LBrace) {
            self.block(Delim::Block)
        } else {
            single(self.expr())
        }
    }

    fn fn_expr(&mut self) -> ExprKind {
        self.bump();
        let params = if self.at(TokenKind::LParen) { self.params() } else { self.lambda_patterns() };
        self.lambda_arrow("write `fn(x) -> ..`");
        let body = self.lambda_body();
        ExprKind::Lambda { params, body }
    }

    fn backslash(&mut self) -> ExprKind {
        self.bump();
        let params = self.lambda_patterns();
        self.lambda_arrow("write `\\x -> ..`");
        let body = self.lambda_body();
        ExprKind::Lambda { params, body }
    }

    fn lambda_patterns(&mut self) -> Vec<Param> {
        let mut params = Vec::new();
        while self.begins_pattern() {
            let pattern = self.atom_pattern();
            params.push(Param { span: pattern.span, pattern, ty: None });
        }
        if params.is_empty() {
            let help = "a function without parameters is `fn() -> ..`, with one `fn(x) -> ..`";
            self.unexpected_help(codes::EXPECTED_PATTERN, "a parameter", help);
        }
        params
    }

    fn lambda_arrow(&mut self, help: &str) {
        if self.eat(TokenKind::Arrow) {
            return;
        }
        self.unexpected_help(codes::UNEXPECTED, "`->`", help);
        if matches!(self.kind(), TokenKind::FatArrow | TokenKind::Eq | TokenKind::Colon) {
            self.bump();
        }
    }

    /// Statements up to what encloses the lambda; on a line of a block only one.
    fn lambda_body(&mut self) -> Block {
        let alone = self.mode.newlines && !self.newline();
        if alone && !self.stopped() && !self.is_closer() && !self.at(TokenKind::Comma) {
            let stmt = self.stmt();
            return Block { span: stmt.span, stmts: vec![stmt] };
        }
        let body = self.stmts();
        if body.stmts.is_empty() {
            self.unexpected_help(codes::MISSING_BODY, "a statement", "`()` does nothing");
        }
        body
    }

    fn perform(&mut self) -> ExprKind {
        self.bump();
        let effect = if self.at(TokenKind::Upper) {
            let path = self.path("an effect");
            self.expect(TokenKind::Dot);
            Some(path)
        } else {
            None
        };
        let operation = self.lower("an operation");
        if self.at(TokenKind::LParen) && self.glued() {
            let args = self.list(Delim::Paren, Self::argument);
            return ExprKind::Perform { effect, operation, args };
        }
        let written = effect.iter().map(Path::dotted).chain([operation.name.clone()]).collect::<Vec<_>>().join(".");
        self.unexpected_help(
            codes::PERFORM_CALL,
            "`(`",
            &format!("write `perform {written}(..)` with the parenthesis directly behind the operation, `()` if it takes no arguments"),
        );
        ExprKind::Perform { effect, operation, args: Vec::new() }
    }

    fn with_expr(&mut self) -> ExprKind {
        self.bump();
        let mut handlers = vec![self.head()];
        while self.eat(TokenKind::Comma) {
            handlers.push(self.head());
        }
        let body = self.block(Delim::Block);
        ExprKind::With { handlers, body }
    }

    fn try_expr(&mut self) -> ExprKind {
        let keyword = self.bump();
        self.body_brace = Some(self.pos);
        let body = Box::new(self.expr());
        if !self.eat(TokenKind::With) {
            self.unexpected_help(codes::UNEXPECTED, "`with`", "write `try e with { | error -> .. }`");
            return ExprKind::Try { body, clauses: TryClauses::Arms(Vec::new()) };
        }
        if self.at(TokenKind::LBrace) {
            self.open(Delim::Arms);
            let clauses = if self.at(TokenKind::Bar) || self.at(TokenKind::RBrace) {
                TryClauses::Arms(self.arms())
            } else {
                TryClauses::Handler(self.clauses())
            };
            self.close();
            if self.at(TokenKind::End) && !self.awaited(TokenKind::End) {
                self.bump();
            }
            return ExprKind::Try { body, clauses };
        }
        self.await_closer(Delim::End, keyword);
        let arms = self.arms();
        self.opens.pop();
        // An `end` belongs to the innermost phrase that can take one.
        self.eat(TokenKind::End);
        ExprKind::Try { body, clauses: TryClauses::Arms(arms) }
    }

    fn do_expr(&mut self) -> ExprKind {
        let keyword = self.bump();
        if self.at(TokenKind::LBrace) {
            return ExprKind::Do(self.block(Delim::Block));
        }
        self.await_closer(Delim::End, keyword);
        let block = self.stmts();
        self.close();
        ExprKind::Do(block)
    }

    fn forall_expr(&mut self) -> ExprKind {
        self.bump();
        let mut params = Vec::new();
        if !self.at(TokenKind::LParen) {
            self.unexpected_help(codes::UNEXPECTED, "`(`", "write `forall (x : T) { .. }`");
        }
        while self.at(TokenKind::LParen) {
            params.append(&mut self.params());
        }
        let body = self.block(Delim::Block);
        ExprKind::Forall { params, body }
    }

    /// `let p = e in e` inside of an expression.
    fn let_in(&mut self) -> ExprKind {
        let (pattern, ty, value) = self.let_head();
        if !self.eat(TokenKind::In) {
            self.unexpected_help(
                codes::UNEXPECTED,
                "`in`",
                "inside of an expression write `let x = e in e`; as a statement `let` stands on a line of its own",
            );
            return ExprKind::Error;
        }
        let body = Box::new(self.expr());
        ExprKind::LetIn { pattern, ty: ty.map(Box::new), value: Box::new(value), body }
    }

    /// A name for what could not be read.
    pub(super) fn no_name(&self) -> Ident {
        Ident { name: String::new(), span: self.nothing() }
    }
}

/// An expression as a block.
pub(super) fn single(expr: Expr) -> Block {
    let span = expr.span;
    Block { stmts: vec![Stmt { kind: StmtKind::Expr(expr), span }], span }
}
