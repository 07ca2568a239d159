//! Expressions: operators, application, postfix forms.

use super::{Delim, Parser};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast::{BinaryOp, Expr, ExprKind, Ident, Path};
use crate::syntax::codes;
use crate::syntax::token::TokenKind;

/// How tightly an operator binds, and how it groups.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Pipe,
    Or,
    And,
    Equality,
    Order,
    /// `!` and `?`: what is sent may be put together, what is answered compared.
    Message,
    Append,
    Sum,
    Product,
}

impl Level {
    const fn groups_right(self) -> bool {
        matches!(self, Self::Append)
    }

    const fn chains(self) -> bool {
        !matches!(self, Self::Equality | Self::Order)
    }
}

const fn operator(kind: TokenKind) -> Option<(BinaryOp, Level)> {
    Some(match kind {
        TokenKind::Bang => (BinaryOp::Send, Level::Message),
        TokenKind::Pipe => (BinaryOp::Pipe, Level::Pipe),
        TokenKind::BarBar => (BinaryOp::Or, Level::Or),
        TokenKind::AndAnd => (BinaryOp::And, Level::And),
        TokenKind::EqEq => (BinaryOp::Equal, Level::Equality),
        TokenKind::NotEq => (BinaryOp::NotEqual, Level::Equality),
        TokenKind::EqEqEq => (BinaryOp::Identical, Level::Equality),
        TokenKind::NotEqEq => (BinaryOp::NotIdentical, Level::Equality),
        TokenKind::Less => (BinaryOp::Less, Level::Order),
        TokenKind::Greater => (BinaryOp::Greater, Level::Order),
        TokenKind::LessEq => (BinaryOp::LessEqual, Level::Order),
        TokenKind::GreaterEq => (BinaryOp::GreaterEqual, Level::Order),
        TokenKind::ColonColon => (BinaryOp::Cons, Level::Append),
        TokenKind::PlusPlus => (BinaryOp::Append, Level::Append),
        TokenKind::Diamond => (BinaryOp::Combine, Level::Append),
        TokenKind::Plus => (BinaryOp::Add, Level::Sum),
        TokenKind::Minus => (BinaryOp::Subtract, Level::Sum),
        TokenKind::Star => (BinaryOp::Multiply, Level::Product),
        TokenKind::Slash => (BinaryOp::Divide, Level::Product),
        TokenKind::Percent => (BinaryOp::Remainder, Level::Product),
        _ => return None,
    })
}

/// An operator that waits for its right operand to be complete.
struct Pending {
    op: BinaryOp,
    level: Level,
    span: Span,
}

pub(super) const fn error(span: Span) -> Expr {
    Expr { kind: ExprKind::Error, span }
}

impl Parser<'_> {
    /// An expression.
    pub(super) fn expr(&mut self) -> Expr {
        self.nested(error, |parser| {
            let first = parser.operand();
            parser.operators(first)
        })
    }

    /// Goes on behind an operand that has been read already.
    pub(super) fn go_on(&mut self, operand: Expr) -> Expr {
        let operand = self.application_of(operand);
        self.operators(operand)
    }

    /// The operators behind the first operand: an operator stack, so that long chains and mixed levels take no stack.
    fn operators(&mut self, first: Expr) -> Expr {
        if self.infix().is_none() && !self.asks() {
            return first;
        }
        let mut operands = vec![first];
        let mut pending: Vec<Pending> = Vec::new();
        loop {
            let ask = self.asks();
            let (op, level) = match self.infix() {
                Some(found) => found,
                None if ask => (BinaryOp::Send, Level::Message),
                None => break,
            };
            while let Some(top) = pending.last() {
                if top.level < level || (top.level == level && level.groups_right()) {
                    break;
                }
                if top.level == level && !level.chains() {
                    let diagnostic =
                        Diagnostic::new(codes::CHAINED_COMPARISON, "comparisons do not chain", self.span())
                            .label(top.span, "the first comparison")
                            .help("join two comparisons with `&&`, as in `a < b && b < c`, or use parentheses");
                    self.emit(diagnostic);
                }
                if !self.reduce(&mut operands, &mut pending) {
                    return error(self.nothing());
                }
            }
            if ask {
                let process = operands.pop().unwrap_or(error(self.nothing()));
                let asked = self.ask(process);
                operands.push(asked);
                continue;
            }
            let span = self.bump();
            pending.push(Pending { op, level, span });
            operands.push(self.right_operand());
        }
        while !pending.is_empty() {
            if !self.reduce(&mut operands, &mut pending) {
                return error(self.nothing());
            }
        }
        operands.pop().unwrap_or(error(self.nothing()))
    }

    /// Whether a `?` goes on with the expression.
    fn asks(&self) -> bool {
        self.at(TokenKind::Question) && !(self.newline() && self.mode.newlines)
    }

    /// `? Make after t` behind a process.
    fn ask(&mut self, process: Expr) -> Expr {
        if !self.link() {
            return error(self.nothing());
        }
        let op_span = self.bump();
        let outer = self.asking.replace(self.opens.len());
        let make = Box::new(self.right_operand());
        let timeout = (self.at_word("after") && !self.newline()).then(|| {
            self.bump();
            Box::new(self.right_operand())
        });
        self.asking = outer;
        if self.at(TokenKind::Colon) && !self.newline() {
            let help = "write `if c then a else b`; `p ? Make` asks a process";
            self.error(codes::FOREIGN_SYNTAX, "there is no `? :`", op_span, help);
            self.bump();
            self.right_operand();
        }
        let span = process.span.to(timeout.as_ref().map_or(make.span, |t| t.span));
        Expr { kind: ExprKind::Ask { process: Box::new(process), make, timeout, op_span }, span }
    }

    fn right_operand(&mut self) -> Expr {
        if self.stopped() {
            self.unexpected(codes::EXPECTED_EXPRESSION, "an expression");
            return error(self.nothing());
        }
        self.operand()
    }

    /// Whether an infix operator stands here.
    pub(super) fn at_infix(&self) -> bool {
        self.infix().is_some()
    }

    /// The infix operator that goes on with the expression, if the current token is one.
    fn infix(&self) -> Option<(BinaryOp, Level)> {
        let found = operator(self.kind())?;
        // `-` at the head of a line may be a statement of its own, `!` a negation of another language.
        let prefix = self.at(TokenKind::Minus) || self.at(TokenKind::Bang);
        let leading_minus = prefix && self.newline() && self.mode.newlines;
        (!leading_minus).then_some(found)
    }

    fn reduce(&mut self, operands: &mut Vec<Expr>, pending: &mut Vec<Pending>) -> bool {
        if !self.link() {
            return false;
        }
        if let (Some(right), Some(left), Some(Pending { op, span: op_span, .. })) =
            (operands.pop(), operands.pop(), pending.pop())
        {
            let span = left.span.to(right.span);
            let kind = ExprKind::Binary { op, op_span, left: Box::new(left), right: Box::new(right) };
            operands.push(Expr { kind, span });
        }
        true
    }

    /// Prefix minus, then an application.
    fn operand(&mut self) -> Expr {
        let mut signs = Vec::new();
        while self.at(TokenKind::Minus) {
            if !self.link() {
                return error(self.nothing());
            }
            signs.push(self.bump());
        }
        let operand = self.application();
        signs.into_iter().rev().fold(operand, |inner, sign| {
            let span = sign.to(inner.span);
            Expr { kind: ExprKind::Negate(Box::new(inner)), span }
        })
    }

    /// A function and its arguments on the same line, or a single operand.
    fn application(&mut self) -> Expr {
        let head = self.postfix();
        self.application_of(head)
    }

    fn application_of(&mut self, head: Expr) -> Expr {
        let mut head = head;
        if !self.can_be_called(&head) {
            return head;
        }
        while !self.newline() {
            let parenthesised = head.span.end < self.previous().end;
            let (arg, block) = if self.at(TokenKind::LBrace) {
                if !self.mode.braces {
                    break;
                }
                let constructor = matches!(head.kind, ExprKind::Constructor(_));
                (self.trailing_brace(constructor), true)
            } else if self.begins_argument() {
                (self.postfix(), false)
            } else {
                break;
            };
            if !self.apply(&mut head, arg, parenthesised) {
                return error(self.nothing());
            }
            if block {
                head = self.postfix_of(head);
            }
        }
        head
    }

    /// Whether the current token begins an argument by juxtaposition.
    fn begins_argument(&self) -> bool {
        use TokenKind as K;
        if self.at_after() {
            return false;
        }
        matches!(
            self.kind(),
            K::Lower
                | K::Upper
                | K::Int
                | K::Float
                | K::Duration
                | K::Text
                | K::FormatStart
                | K::True
                | K::False
                | K::LParen
                | K::LBracket
        )
    }

    /// A primary with the calls, indices and fields directly behind it.
    fn postfix(&mut self) -> Expr {
        let head = self.primary();
        self.postfix_of(head)
    }

    fn postfix_of(&mut self, head: Expr) -> Expr {
        let mut expr = head;
        let start = expr.span;
        loop {
            match self.kind() {
                TokenKind::LParen if self.glued() && self.can_be_called(&expr) => {
                    if !self.link() {
                        return error(self.nothing());
                    }
                    let args = self.list(Delim::Paren, Self::argument);
                    expr = Expr { kind: ExprKind::Apply { function: Box::new(expr), args }, span: start };
                }
                TokenKind::LBracket if self.glued() && self.can_be_called(&expr) => {
                    if !self.link() {
                        return error(self.nothing());
                    }
                    let index = self.index();
                    expr = Expr {
                        kind: ExprKind::Index { collection: Box::new(expr), index: Box::new(index) },
                        span: start,
                    };
                }
                TokenKind::Dot => {
                    if !self.link() {
                        return error(self.nothing());
                    }
                    self.bump();
                    if self.at(TokenKind::Dot) && self.glued() {
                        let message = "there are no ranges with `..`";
                        self.error(codes::FOREIGN_SYNTAX, message, self.span(), "`List.range(1, 3)` is `[1, 2, 3]`");
                        self.bump();
                        self.eat(TokenKind::Eq);
                        self.operand();
                        return error(self.since(start));
                    }
                    let field = self.field_name();
                    expr = Expr { kind: ExprKind::Field { record: Box::new(expr), field }, span: start };
                }
                _ => return expr,
            }
            expr.span = self.since(start);
        }
    }

    fn field_name(&mut self) -> Ident {
        if self.at(TokenKind::Int) && self.glued() {
            self.error(
                codes::UNEXPECTED,
                "a tuple has no numbered fields",
                self.span(),
                "take it apart: `let (a, b) = pair`",
            );
            return self.ident();
        }
        self.lower("the name of a field")
    }

    /// One index in brackets.
    fn index(&mut self) -> Expr {
        let start = self.span();
        let mut parts = self.list(Delim::Bracket, Self::argument);
        if parts.len() != 1 {
            let diagnostic = Diagnostic::new(codes::UNEXPECTED, "an index is one expression", self.since(start))
                .help("index with a tuple, `m[(a, b)]`, or put a blank before `[` to pass a list");
            self.emit_always(diagnostic);
        }
        parts.pop().unwrap_or(error(start))
    }

    /// An expression in brackets, where `=` can only be a slip.
    pub(super) fn argument(&mut self) -> Expr {
        let expr = self.expr();
        if self.unbalanced {
            // More likely a closer is missing before this line.
            return expr;
        }
        self.comparison_slip(expr)
    }

    /// A condition: `=` in place of `==` is said and read as meant.
    pub(super) fn comparison_slip(&mut self, expr: Expr) -> Expr {
        if self.newline() || !matches!(self.kind(), TokenKind::Eq | TokenKind::LeftArrow) {
            return expr;
        }
        let op_span = self.span();
        if self.at(TokenKind::LeftArrow) {
            self.error(
                codes::ASSIGNMENT_IN_CONDITION,
                "`<-` does not compare",
                op_span,
                "to compare with a negative number write `a < -1`, with a blank",
            );
        }
        self.error(codes::ASSIGNMENT_IN_CONDITION, "`=` does not compare", op_span, "write `==` to compare");
        self.bump();
        let right = self.expr();
        let span = expr.span.to(right.span);
        Expr {
            kind: ExprKind::Binary { op: BinaryOp::Equal, op_span, left: Box::new(expr), right: Box::new(right) },
            span,
        }
    }

    /// The head of `if`, `match`, `for` or `with`: a `{` behind it opens the body.
    pub(super) fn head(&mut self) -> Expr {
        let mode = self.mode;
        self.mode.braces = false;
        let expr = if self.at(TokenKind::LBrace) && !self.brace_is_operand() {
            self.unexpected(codes::EXPECTED_EXPRESSION, "an expression");
            error(self.nothing())
        } else {
            self.expr()
        };
        let expr = self.comparison_slip(expr);
        self.mode = mode;
        expr
    }

    /// `A.B`, `A.b`: a constructor or a qualified name.
    pub(super) fn upper_expr(&mut self) -> Expr {
        let path = self.path("a name");
        let start = path.span;
        if self.at(TokenKind::Dot) && !self.newline() && self.nth(1) == TokenKind::Lower {
            self.bump();
            let Path { segments, .. } = path;
            let name = self.ident();
            return Expr { kind: ExprKind::Var { qualifier: segments, name }, span: self.since(start) };
        }
        Expr { kind: ExprKind::Constructor(path), span: start }
    }

    /// Whether something can stand before arguments: a name, a call, or anything in parentheses.
    fn can_be_called(&self, expr: &Expr) -> bool {
        let name = matches!(
            expr.kind,
            ExprKind::Var { .. }
                | ExprKind::Constructor(_)
                | ExprKind::Apply { .. }
                | ExprKind::Field { .. }
                | ExprKind::Index { .. }
                | ExprKind::Perform { .. }
                | ExprKind::Error
        );
        name || expr.span.end < self.previous().end
    }

    /// Adds an argument by juxtaposition; false if the tree has become too high.
    fn apply(&mut self, head: &mut Expr, arg: Expr, parenthesised: bool) -> bool {
        head.span = head.span.to(arg.span);
        match &mut head.kind {
            ExprKind::Apply { args, .. } if !args.is_empty() && !parenthesised => args.push(arg),
            ExprKind::Perform { args, .. } if !parenthesised => args.push(arg),
            _ => {
                if !self.link() {
                    return false;
                }
                let function = Box::new(std::mem::replace(head, error(head.span)));
                head.span = function.span;
                let span = head.span;
                *head = Expr { kind: ExprKind::Apply { function, args: vec![arg] }, span };
            }
        }
        true
    }
}
