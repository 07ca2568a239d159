//! Types, signatures, effect rows, constraints, binders and kinds.

use super::{Delim, Parser};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast::{
    Constraint, Domain, EffectRef, Ident, Kind, Path, Row, Signature, Type, TypeField, TypeKind, TypeParam,
};
use crate::syntax::codes;
use crate::syntax::token::TokenKind;

const fn error(span: Span) -> Type {
    Type { kind: TypeKind::Error, span }
}

impl Parser<'_> {
    /// A type: `A -> B / row`, or `T / row` for `() -> T / row`.
    pub(super) fn ty(&mut self) -> Type {
        self.nested(error, |parser| {
            let start = parser.span();
            if parser.at(TokenKind::Forall) {
                parser.error(
                    codes::NESTED_FORALL,
                    "`forall` stands at the head of a signature only",
                    start,
                    "name the variables without `forall`",
                );
                parser.binders();
            }
            let (domains, result) = parser.arrows();
            let row = parser.row_after_slash();
            if domains.is_empty() && row.is_none() {
                return result;
            }
            let kind = TypeKind::Function { domains, result: Box::new(result), row };
            Type { kind, span: parser.since(start) }
        })
    }

    /// `forall a. C a => (x : A) -> B / row`.
    pub(super) fn signature(&mut self) -> Signature {
        let unread = |span| Signature {
            forall: Vec::new(),
            context: Vec::new(),
            domains: Vec::new(),
            result: error(span),
            row: None,
            span,
        };
        self.nested(unread, |parser| {
            let start = parser.span();
            let forall = if parser.at(TokenKind::Forall) { parser.binders() } else { Vec::new() };
            let (mut domains, mut result) = parser.arrows();
            let mut context = Vec::new();
            if parser.at(TokenKind::FatArrow) {
                if !domains.is_empty() {
                    parser.unexpected_help(
                        codes::CONSTRAINT,
                        "`=` or a new line",
                        "constraints stand before the first arrow",
                    );
                }
                parser.bump();
                context = parser.constraints(result);
                (domains, result) = parser.arrows();
            }
            let row = parser.row_after_slash();
            Signature { forall, context, domains, result, row, span: parser.since(start) }
        })
    }

    /// `forall a b.`; the current token is `forall`.
    fn binders(&mut self) -> Vec<Ident> {
        self.bump();
        let names = self.lowers();
        if names.is_empty() {
            self.unexpected(codes::UNEXPECTED, "a type variable");
        }
        self.expect(TokenKind::Dot);
        names
    }

    /// Domains and result.
    fn arrows(&mut self) -> (Vec<Domain>, Type) {
        let mut domains = Vec::new();
        loop {
            let domain = if self.at(TokenKind::LParen)
                && self.nth(2) == TokenKind::Colon
                && (self.nth(1) == TokenKind::Lower || self.nth(1) == TokenKind::Underscore)
            {
                self.named_domain()
            } else {
                Domain { name: None, ty: self.applied_type() }
            };
            if !self.at(TokenKind::Arrow) {
                if let Some(name) = domain.name {
                    let diagnostic = Diagnostic::new(
                        codes::NAMED_DOMAIN,
                        format!("the named parameter `{}` is not followed by `->`", name.name),
                        name.span,
                    )
                    .help("what a flow returns has no name; add `->` and the type of the result");
                    self.emit(diagnostic);
                }
                return (domains, domain.ty);
            }
            self.bump();
            domains.push(domain);
        }
    }

    fn named_domain(&mut self) -> Domain {
        let mode = std::mem::replace(&mut self.mode, super::Mode { newlines: false, braces: true });
        self.open(Delim::Paren);
        let name = if self.at(TokenKind::Underscore) {
            self.bump();
            None
        } else {
            Some(self.ident())
        };
        self.bump();
        let ty = self.ty();
        if self.at(TokenKind::Comma) {
            self.unexpected_help(
                codes::UNEXPECTED,
                "`)`",
                "the type of a flow has one parameter before each arrow: `(x : A) -> (y : B) -> C`",
            );
            self.skip(|parser| parser.at(TokenKind::RParen) || parser.newline());
        }
        self.close();
        self.mode = mode;
        Domain { name, ty }
    }

    /// A constructor or a variable with its arguments on the same line.
    pub(super) fn applied_type(&mut self) -> Type {
        let mut ty = self.atom_type();
        let mut more = Vec::new();
        if matches!(ty.kind, TypeKind::Var(_) | TypeKind::Named { .. }) {
            while self.begins_type() && !self.newline() {
                more.push(self.atom_type());
            }
        }
        if more.is_empty() {
            return ty;
        }
        ty.span = ty.span.to(self.previous());
        match ty.kind {
            TypeKind::Named { path, mut args } => {
                args.append(&mut more);
                Type { kind: TypeKind::Named { path, args }, span: ty.span }
            }
            TypeKind::Var(head) => Type { kind: TypeKind::Apply { head, args: more }, span: ty.span },
            kind => Type { kind, span: ty.span },
        }
    }

    /// Whether the current token begins an atomic type.
    pub(super) fn begins_type(&self) -> bool {
        use TokenKind as K;
        match self.kind() {
            K::Lower => !self.at_word("deriving") && !self.at_word("via"),
            kind => matches!(kind, K::Upper | K::LParen | K::LBracket | K::LBrace),
        }
    }

    /// A type that needs no parentheses as an argument.
    pub(super) fn atom_type(&mut self) -> Type {
        let start = self.span();
        let kind = match self.kind() {
            TokenKind::Lower if self.nth(1) != TokenKind::Dot || self.raw(1).newline || self.raw(1).spaced => {
                TypeKind::Var(self.ident())
            }
            TokenKind::Upper | TokenKind::Lower => {
                let path = self.path("a type");
                if self.at(TokenKind::Dot) && self.nth(1) == TokenKind::Lower && self.glued() {
                    self.bump();
                    TypeKind::Projection { protocol: path, role: self.ident() }
                } else {
                    let args = if self.at(TokenKind::LParen) && self.glued() {
                        self.list(Delim::Paren, Self::ty)
                    } else {
                        self.angle_arguments(&path.dotted())
                    };
                    TypeKind::Named { path, args }
                }
            }
            TokenKind::LParen => {
                let mut parts = self.list(Delim::Paren, Self::ty);
                match (parts.len(), parts.pop()) {
                    (0, _) | (_, None) => TypeKind::Unit,
                    (1, Some(ty)) => return Type { kind: ty.kind, span: self.since(start) },
                    (_, Some(last)) => {
                        parts.push(last);
                        TypeKind::Tuple(parts)
                    }
                }
            }
            TokenKind::LBracket => {
                let mut parts = self.list(Delim::Bracket, Self::ty);
                let ty = parts.pop();
                if !parts.is_empty() || ty.is_none() {
                    let span = self.since(start);
                    self.error(
                        codes::EXPECTED_TYPE,
                        "a list type has one element type",
                        span,
                        "write `[a]`, or a tuple type `(a, b)`",
                    );
                }
                TypeKind::List(Box::new(ty.unwrap_or(error(start))))
            }
            TokenKind::LBrace => self.record_type(),
            kind if kind.is_keyword() && !self.newline() && !self.awaited(kind) && kind != TokenKind::Where => {
                self.keyword_as_name("a type");
                TypeKind::Error
            }
            _ => {
                if self.at(TokenKind::Less) {
                    let help = "effects stand behind the type: `Int / {IO}`";
                    self.unexpected_help(codes::EXPECTED_TYPE, "a type", help);
                } else {
                    self.unexpected(codes::EXPECTED_TYPE, "a type");
                }
                return error(self.nothing());
            }
        };
        Type { kind, span: self.since(start) }
    }

    fn record_type(&mut self) -> TypeKind {
        let mut tail = None;
        let fields = self.list(Delim::Record, |parser| {
            let name = parser.lower("the name of a field");
            if !parser.eat(TokenKind::Colon) {
                parser.unexpected(codes::UNEXPECTED, "`:` and the type of the field");
                if parser.at(TokenKind::Eq) {
                    // A record value where a type should be: one mistake.
                    parser.skip(|_| false);
                    parser.last_error = Some(parser.pos);
                    return TypeField { name, ty: error(parser.nothing()) };
                }
            }
            let ty = parser.ty();
            if parser.at(TokenKind::Eq) {
                parser.error(
                    codes::FIELD_DEFAULT,
                    "only the fields of a declared record type may have defaults",
                    parser.span(),
                    "declare the record with `type`",
                );
                parser.bump();
                parser.expr();
            }
            tail = parser.row_tail();
            TypeField { name, ty }
        });
        TypeKind::Record { fields, tail }
    }

    /// `| r`, before a closing brace.
    fn row_tail(&mut self) -> Option<Ident> {
        if !self.eat(TokenKind::Bar) {
            return None;
        }
        Some(self.lower("a row variable"))
    }

    /// `/ row`, if there is one.
    pub(super) fn row_after_slash(&mut self) -> Option<Row> {
        if !self.eat(TokenKind::Slash) {
            return None;
        }
        let start = self.span();
        match self.kind() {
            TokenKind::Lower => {
                let tail = Some(self.ident());
                Some(Row { effects: Vec::new(), tail, span: start })
            }
            TokenKind::LBrace => {
                let mut tail = None;
                let effects = self.list(Delim::Record, |parser| {
                    if parser.at(TokenKind::Bar) {
                        tail = parser.row_tail();
                        return None;
                    }
                    let effect = parser.effect_ref();
                    tail = parser.row_tail();
                    Some(effect)
                });
                let effects = effects.into_iter().flatten().collect();
                Some(Row { effects, tail, span: self.since(start) })
            }
            TokenKind::Upper => {
                self.error(
                    codes::EXPECTED_TYPE,
                    "an effect row stands in braces",
                    start,
                    &format!("write `/ {{{}}}`", self.text(start)),
                );
                let effect = self.effect_ref();
                Some(Row { effects: vec![effect], tail: None, span: self.since(start) })
            }
            _ => {
                self.unexpected(codes::EXPECTED_TYPE, "an effect row");
                None
            }
        }
    }

    /// `P.Distributed`, `State Int`.
    pub(super) fn effect_ref(&mut self) -> EffectRef {
        let path = self.path("an effect");
        let start = path.span;
        let args = self.type_args();
        EffectRef { path, args, span: self.since(start) }
    }

    /// Arguments of a name: `(A, B)` directly behind it, or atoms on the same line.
    fn type_args(&mut self) -> Vec<Type> {
        let mut args = Vec::new();
        if self.at(TokenKind::LParen) && self.glued() {
            args = self.list(Delim::Paren, Self::ty);
        }
        while self.begins_type() && !self.newline() {
            args.push(self.atom_type());
        }
        args
    }

    /// `Handler(E)`, after its colon.
    pub(super) fn handler_type(&mut self) -> EffectRef {
        let span = self.span();
        if self.at(TokenKind::Upper) && self.text(span) == "Handler" {
            self.bump();
            if self.at(TokenKind::LParen) {
                let mut effects = self.list(Delim::Paren, Self::effect_ref);
                if effects.len() > 1 {
                    self.emit_always(
                        Diagnostic::new(codes::HANDLER_TYPE, "a handler handles one effect", self.since(span))
                            .help("write one handler for each effect and install both: `with h1, h2 { .. }`"),
                    );
                }
                if !effects.is_empty() {
                    return effects.swap_remove(0);
                }
            }
            self.unexpected_help(codes::HANDLER_TYPE, "`(` and an effect", "a handler's type is `Handler(E)`");
        } else {
            self.unexpected_help(
                codes::HANDLER_TYPE,
                "`Handler(..)`",
                "a handler's type is `Handler(E)`, perhaps with a row: `Handler(E) / {IO}`",
            );
            if self.begins_type() && !self.newline() {
                self.applied_type();
            }
        }
        let nothing = self.nothing();
        let name = Ident { name: String::new(), span: nothing };
        EffectRef { path: Path { segments: vec![name], span: nothing }, args: Vec::new(), span: nothing }
    }

    /// `C a`, `(C a, D b)`, read as a type.
    pub(super) fn constraints(&mut self, ty: Type) -> Vec<Constraint> {
        match ty.kind {
            TypeKind::Named { path, args } => vec![Constraint { path, args, span: ty.span }],
            TypeKind::Tuple(parts) => parts.into_iter().flat_map(|part| self.constraints(part)).collect(),
            TypeKind::Unit | TypeKind::Error => Vec::new(),
            _ => {
                self.emit_always(
                    Diagnostic::new(codes::CONSTRAINT, "this is not a constraint", ty.span)
                        .help("a constraint is a trait with its arguments: `Ord a => ..` or `(Ord a, Show b) => ..`"),
                );
                Vec::new()
            }
        }
    }

    /// `[a, b : C + D]`, if a bracket is the current token.
    pub(super) fn type_params(&mut self) -> Vec<TypeParam> {
        if !self.at(TokenKind::LBracket) {
            return Vec::new();
        }
        self.list(Delim::Bracket, |parser| {
            let name = parser.lower("a type variable");
            let start = name.span;
            let mut bounds = Vec::new();
            if parser.eat(TokenKind::Colon) {
                bounds.push(parser.path("a trait"));
                while parser.eat(TokenKind::Plus) {
                    bounds.push(parser.path("a trait"));
                }
            }
            TypeParam { name, bounds, span: parser.since(start) }
        })
    }

    /// `Type -> Type`.
    pub(super) fn kind_of_param(&mut self) -> Kind {
        self.nested(
            |_| Kind::Error,
            |parser| {
                let left = if parser.at(TokenKind::LParen) {
                    let mut kinds = parser.list(Delim::Paren, Self::kind_of_param);
                    if kinds.len() > 1 {
                        parser.unexpected(codes::EXPECTED_TYPE, "one kind");
                    }
                    kinds.pop().unwrap_or(Kind::Error)
                } else {
                    Kind::Named(parser.upper("a kind"))
                };
                if parser.eat(TokenKind::Arrow) {
                    Kind::Arrow(Box::new(left), Box::new(parser.kind_of_param()))
                } else {
                    left
                }
            },
        )
    }
}
