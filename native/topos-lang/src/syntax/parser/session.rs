//! `session` and `protocol`.

use super::{Delim, Mode, Parser};
use crate::diagnostic::Span;
use crate::syntax::ast::{
    GlobalBranch, GlobalKind, GlobalStep, GlobalType, Ident, ProtocolDecl, RoleDecl, SessionBranch, SessionDecl,
    SessionKind, SessionType, Type, TypeKind,
};
use crate::syntax::codes;
use crate::syntax::token::TokenKind;

/// What has been read of a sequence of actions and waits for what follows.
enum Prefix {
    Send(Type, Option<Ident>),
    Receive(Type, Option<Ident>),
    Rec(Ident),
    Dual,
}

const fn error(span: Span) -> SessionType {
    SessionType { kind: SessionKind::Error, span }
}

impl Parser<'_> {
    pub(super) fn session(&mut self) -> SessionDecl {
        let name = self.upper("the name of a session");
        let params = self.lowers();
        self.expect(TokenKind::Eq);
        let body = self.session_type();
        SessionDecl { name, params, body }
    }

    fn session_type(&mut self) -> SessionType {
        self.nested(error, |parser| {
            let mut prefixes: Vec<(Span, Prefix)> = Vec::new();
            let mut ty = loop {
                if !parser.link() {
                    return error(parser.nothing());
                }
                let start = parser.span();
                match parser.kind() {
                    TokenKind::Bang | TokenKind::Question => {
                        let send = parser.at(TokenKind::Bang);
                        parser.bump();
                        let (message, role) = parser.message();
                        let prefix = if send { Prefix::Send(message, role) } else { Prefix::Receive(message, role) };
                        prefixes.push((start, prefix));
                        if !parser.eat(TokenKind::Arrow) {
                            parser.unexpected_help(
                                codes::UNEXPECTED,
                                "`->`",
                                "actions are joined by `->`, and a session that stops ends with `-> end`",
                            );
                            break error(parser.nothing());
                        }
                    }
                    TokenKind::Lower if parser.at_word("rec") => {
                        parser.bump();
                        let variable = parser.upper("a session variable");
                        parser.expect(TokenKind::Dot);
                        prefixes.push((start, Prefix::Rec(variable)));
                    }
                    TokenKind::Lower if parser.at_word("dual") => {
                        parser.bump();
                        prefixes.push((start, Prefix::Dual));
                    }
                    _ => break parser.session_end(),
                }
            };
            for (start, prefix) in prefixes.into_iter().rev() {
                let span = start.to(ty.span);
                let inner = Box::new(ty);
                let kind = match prefix {
                    Prefix::Send(message, role) => SessionKind::Send { message, role, then: inner },
                    Prefix::Receive(message, role) => SessionKind::Receive { message, role, then: inner },
                    Prefix::Rec(variable) => SessionKind::Rec { variable, body: inner },
                    Prefix::Dual => SessionKind::Dual(inner),
                };
                ty = SessionType { kind, span };
            }
            ty
        })
    }

    fn message(&mut self) -> (Type, Option<Ident>) {
        let message = self.applied_type();
        (message, self.at_role())
    }

    /// `@ role`.
    fn at_role(&mut self) -> Option<Ident> {
        if !self.eat(TokenKind::At) {
            return None;
        }
        Some(self.lower("a role"))
    }

    /// What a sequence of actions ends with.
    fn session_end(&mut self) -> SessionType {
        let start = self.span();
        let kind = match self.kind() {
            TokenKind::End => {
                self.bump();
                SessionKind::End
            }
            TokenKind::Upper => {
                let ty = self.applied_type();
                return match ty.kind {
                    TypeKind::Named { path, args } => {
                        SessionType { kind: SessionKind::Named { path, args }, span: ty.span }
                    }
                    TypeKind::Projection { protocol, role } => {
                        SessionType { kind: SessionKind::Projection { protocol, role }, span: ty.span }
                    }
                    _ => error(ty.span),
                };
            }
            TokenKind::LParen => {
                let mut parts = self.list(Delim::Paren, Self::session_type);
                if parts.len() == 1 {
                    return parts.swap_remove(0);
                }
                self.unexpected(codes::EXPECTED_SESSION, "one session type in parentheses");
                SessionKind::Error
            }
            TokenKind::Lower if self.at_word("select") || self.at_word("offer") => {
                let select = self.at_word("select");
                self.bump();
                let role = self.at_role();
                let branches = self.session_branches();
                if select {
                    SessionKind::Select { role, branches }
                } else {
                    SessionKind::Offer { role, branches }
                }
            }
            _ => {
                self.unexpected_help(
                    codes::EXPECTED_SESSION,
                    "a session type",
                    "a session is made of `!Msg -> ..`, `?Msg -> ..`, `select { .. }`, `offer { .. }`, `rec X. ..` and `end`",
                );
                return error(self.nothing());
            }
        };
        SessionType { kind, span: self.since(start) }
    }

    fn session_branches(&mut self) -> Vec<SessionBranch> {
        if !self.at(TokenKind::LBrace) {
            self.unexpected_help(codes::EXPECTED_SESSION, "`{`", "write `offer { label -> .., other -> .. }`");
            return Vec::new();
        }
        self.list(Delim::Record, |parser| {
            parser.eat(TokenKind::Bar);
            let label = parser.lower("a label");
            if !parser.eat(TokenKind::Arrow) {
                parser.unexpected(codes::UNEXPECTED, "`->`");
                parser.eat(TokenKind::Colon);
            }
            SessionBranch { label, body: parser.session_type() }
        })
    }

    pub(super) fn protocol(&mut self) -> ProtocolDecl {
        let name = self.upper("the name of a protocol");
        let roles = if self.at(TokenKind::LParen) {
            self.list(Delim::Paren, |parser| {
                let role = parser.lower("a role");
                if !parser.eat(TokenKind::At) {
                    parser.unexpected_help(
                        codes::UNEXPECTED,
                        "`@` and where the role is",
                        "write `coord @ local` or `part @ remote`",
                    );
                    // The other roles will lack it too: that is one mistake.
                    parser.skip(|_| false);
                    parser.last_error = Some(parser.pos);
                    let location = parser.no_name();
                    return RoleDecl { role, location };
                }
                let location = parser.lower("`local`, `remote` or a variable");
                RoleDecl { role, location }
            })
        } else {
            self.unexpected_help(
                codes::UNEXPECTED,
                "`(` and the roles",
                "write `protocol P (a @ local, b @ remote) = ..`",
            );
            Vec::new()
        };
        self.expect(TokenKind::Eq);
        let mode = std::mem::replace(&mut self.mode, Mode { newlines: true, braces: true });
        let body = self.global_type();
        self.mode = mode;
        ProtocolDecl { name, roles, body }
    }

    fn global_type(&mut self) -> GlobalType {
        let unread = |span| GlobalType { steps: vec![GlobalStep { kind: GlobalKind::Error, span }], span };
        self.nested(unread, |parser| {
            let start = if parser.stopped() { parser.nothing() } else { parser.span() };
            let mut steps = Vec::new();
            loop {
                match parser.kind() {
                    TokenKind::Eof | TokenKind::RBrace | TokenKind::Bar => break,
                    _ => {}
                }
                let before = parser.pos;
                let at = parser.span();
                let kind = parser.global_step();
                let last = matches!(kind, GlobalKind::Rec { .. });
                steps.push(GlobalStep { kind, span: parser.since(at) });
                if parser.pos == before {
                    parser.skip_line();
                }
                if last {
                    break;
                }
            }
            if steps.is_empty() {
                parser.unexpected_help(codes::EXPECTED_STEP, "a step", "a protocol that stops here ends with `end`");
            }
            GlobalType { steps, span: parser.since(start) }
        })
    }

    fn global_step(&mut self) -> GlobalKind {
        match self.kind() {
            TokenKind::End => {
                self.bump();
                GlobalKind::End
            }
            TokenKind::Lower if self.at_word("choice") && self.nth(1) == TokenKind::Lower => self.choice(),
            TokenKind::Lower if self.at_word("rec") && self.nth(1) == TokenKind::Upper => {
                self.bump();
                let variable = self.upper("a protocol variable");
                self.expect(TokenKind::Dot);
                GlobalKind::Rec { variable, body: self.global_type() }
            }
            TokenKind::Lower => self.global_message(),
            TokenKind::Upper => {
                let protocol = self.path("a protocol");
                if self.at(TokenKind::LParen) && !self.newline() {
                    let roles = self.list(Delim::Paren, |parser| parser.lower("a role"));
                    return GlobalKind::Call { protocol, roles };
                }
                let mut segments = protocol.segments;
                match segments.pop() {
                    Some(name) if segments.is_empty() => GlobalKind::Var(name),
                    _ => {
                        self.unexpected_help(
                            codes::EXPECTED_STEP,
                            "`(` and the roles",
                            "a call of a protocol names its roles: `P(a, b)`",
                        );
                        GlobalKind::Error
                    }
                }
            }
            _ => {
                self.unexpected_help(
                    codes::EXPECTED_STEP,
                    "a step",
                    "a protocol is made of `a -> b : Label(Type)`, `choice at a { .. }`, `rec X. ..` and `end`",
                );
                self.skip_line();
                GlobalKind::Error
            }
        }
    }

    fn choice(&mut self) -> GlobalKind {
        self.bump();
        if self.at_word("at") {
            self.bump();
        } else {
            self.unexpected_help(codes::UNEXPECTED, "`at`", "write `choice at role { | label -> .. }`");
        }
        let at = self.lower("a role");
        let mut branches = Vec::new();
        if !self.at(TokenKind::LBrace) {
            self.unexpected_help(codes::UNEXPECTED, "`{`", "write `choice at role { | label -> .. }`");
            return GlobalKind::Choice { at, branches };
        }
        self.open(Delim::Arms);
        if !self.at(TokenKind::Bar) && !self.at(TokenKind::RBrace) {
            self.wrong(codes::ARM_BAR, "`|`", "each branch begins with `|`");
            self.skip(|parser| parser.at(TokenKind::Bar));
        }
        while self.eat(TokenKind::Bar) {
            let label = self.lower("a label");
            if !self.eat(TokenKind::Arrow) {
                self.unexpected_help(codes::ARM_ARROW, "`->`", "a branch is `| label -> steps`");
                self.skip(|parser| parser.at(TokenKind::Bar) || parser.newline());
                self.last_error = Some(self.pos);
            }
            let body = self.global_type();
            branches.push(GlobalBranch { label, body });
        }
        self.close();
        GlobalKind::Choice { at, branches }
    }

    /// `a -> b : Label(Type) via channel`.
    fn global_message(&mut self) -> GlobalKind {
        const FORM: &str = "a message is `sender -> receiver : Label(Type)`";
        let from = self.ident();
        if !self.eat(TokenKind::Arrow) {
            self.unexpected_help(codes::EXPECTED_STEP, "`->` and the receiver", FORM);
            self.skip_line();
            return GlobalKind::Error;
        }
        let to = self.lower("a role");
        if !self.eat(TokenKind::Colon) {
            self.unexpected_help(codes::EXPECTED_STEP, "`:` and the message", FORM);
            self.skip_line();
            return GlobalKind::Error;
        }
        let label = self.upper("the label of a message");
        let payload =
            if self.at(TokenKind::LParen) && self.glued() { self.list(Delim::Paren, Self::ty) } else { Vec::new() };
        let channel = if self.at_word("via") && !self.newline() {
            self.bump();
            Some(self.lower("a channel"))
        } else {
            None
        };
        GlobalKind::Message { from, to, label, payload, channel }
    }
}
