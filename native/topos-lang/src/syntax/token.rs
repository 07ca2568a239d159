//! Tokens: every byte of the source belongs to exactly one, so the tokens in order give the source back.

use crate::diagnostic::Span;

macro_rules! token_kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What a token is.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum TokenKind { $($(#[$doc])* $name,)* }

        impl TokenKind {
            /// How a message names it: in backquotes if it is always written the same way.
            pub const fn describe(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

token_kinds! {
    /// Blanks, tabs, line ends, a byte order mark.
    Whitespace = "white space",
    /// `-- ..` to the end of the line.
    Comment = "a comment",
    /// `{- .. -}`, nested.
    BlockComment = "a comment",
    /// `--- ..` to the end of the line.
    DocComment = "a doc comment",
    /// What the lexer could not read; a diagnostic was reported.
    Unknown = "an unknown character",
    /// `x`, `is_open`, `x'`.
    Lower = "a name",
    /// `Some`, `Topos`.
    Upper = "an upper-case name",
    /// `_`.
    Underscore = "`_`",
    /// `42`.
    Int = "a number",
    /// `1.5`, `1e3`.
    Float = "a number",
    /// `30s`.
    Duration = "a duration",
    /// `".."`.
    Text = "a text",
    /// `f"`.
    FormatStart = "an f-string",
    /// Text between the braces of an f-string.
    FormatText = "an f-string",
    /// `{` in an f-string.
    FormatOpen = "`{`",
    /// `}` in an f-string; empty where the f-string was not terminated.
    FormatClose = "`}`",
    /// `"` of an f-string; empty where it was not terminated.
    FormatEnd = "`\"`",
    /// `(`.
    LParen = "`(`",
    /// `)`.
    RParen = "`)`",
    /// `[`.
    LBracket = "`[`",
    /// `]`.
    RBracket = "`]`",
    /// `{`.
    LBrace = "`{`",
    /// `}`.
    RBrace = "`}`",
    /// `,`.
    Comma = "`,`",
    /// `.`.
    Dot = "`.`",
    /// `:`.
    Colon = "`:`",
    /// `::`.
    ColonColon = "`::`",
    /// `:=`.
    ColonEq = "`:=`",
    /// `<-`.
    LeftArrow = "`<-`",
    /// `->`.
    Arrow = "`->`",
    /// `=>`.
    FatArrow = "`=>`",
    /// `=`.
    Eq = "`=`",
    /// `==`.
    EqEq = "`==`",
    /// `===`.
    EqEqEq = "`===`",
    /// `!=` or `/=`.
    NotEq = "`!=`",
    /// `!==`.
    NotEqEq = "`!==`",
    /// `!`.
    Bang = "`!`",
    /// `?`.
    Question = "`?`",
    /// `@`.
    At = "`@`",
    /// `<`.
    Less = "`<`",
    /// `>`.
    Greater = "`>`",
    /// `<=`.
    LessEq = "`<=`",
    /// `>=`.
    GreaterEq = "`>=`",
    /// `<>`.
    Diamond = "`<>`",
    /// `|`.
    Bar = "`|`",
    /// `||`.
    BarBar = "`||`",
    /// `|>`.
    Pipe = "`|>`",
    /// `&&`.
    AndAnd = "`&&`",
    /// `+`.
    Plus = "`+`",
    /// `++`.
    PlusPlus = "`++`",
    /// `-`.
    Minus = "`-`",
    /// `*`.
    Star = "`*`",
    /// `/`.
    Slash = "`/`",
    /// `%`.
    Percent = "`%`",
    /// `\`.
    Backslash = "`\\`",
    /// `true`.
    True = "`true`",
    /// `false`.
    False = "`false`",
    /// Keyword.
    Shape = "`shape`",
    /// Keyword.
    Flow = "`flow`",
    /// Keyword.
    Match = "`match`",
    /// Keyword.
    Where = "`where`",
    /// Keyword.
    Let = "`let`",
    /// Keyword.
    In = "`in`",
    /// Keyword.
    Do = "`do`",
    /// Keyword.
    End = "`end`",
    /// Keyword.
    If = "`if`",
    /// Keyword.
    Then = "`then`",
    /// Keyword.
    Else = "`else`",
    /// Keyword, reserved.
    Case = "`case`",
    /// Keyword.
    Of = "`of`",
    /// Keyword.
    When = "`when`",
    /// Keyword.
    Module = "`module`",
    /// Keyword.
    Import = "`import`",
    /// Keyword.
    Export = "`export`",
    /// Keyword.
    As = "`as`",
    /// Keyword.
    Qualified = "`qualified`",
    /// Keyword.
    Private = "`private`",
    /// Keyword.
    Trait = "`trait`",
    /// Keyword.
    Extends = "`extends`",
    /// Keyword.
    Forall = "`forall`",
    /// Keyword.
    Actor = "`actor`",
    /// Keyword.
    Supervisor = "`supervisor`",
    /// Keyword.
    Effect = "`effect`",
    /// Keyword.
    Operation = "`operation`",
    /// Keyword.
    Perform = "`perform`",
    /// Keyword.
    Try = "`try`",
    /// Keyword.
    With = "`with`",
    /// Keyword.
    For = "`for`",
    /// Keyword.
    Loop = "`loop`",
    /// Keyword.
    Return = "`return`",
    /// `fn`, a keyword as well.
    Fn = "`fn`",
    /// After the last token.
    Eof = "the end of the file",
}

impl TokenKind {
    /// Whether the parser passes over it.
    pub const fn is_trivia(self) -> bool {
        matches!(self, Self::Whitespace | Self::Comment | Self::BlockComment | Self::DocComment | Self::Unknown)
    }

    /// Whether it is a word that cannot be a name.
    pub const fn is_keyword(self) -> bool {
        (self as u8) >= (Self::True as u8) && (self as u8) <= (Self::Fn as u8)
    }

    /// The keyword of that spelling.
    pub(crate) fn keyword(text: &str) -> Option<Self> {
        Some(match text {
            "true" => Self::True,
            "false" => Self::False,
            "shape" => Self::Shape,
            "flow" => Self::Flow,
            "match" => Self::Match,
            "where" => Self::Where,
            "let" => Self::Let,
            "in" => Self::In,
            "do" => Self::Do,
            "end" => Self::End,
            "if" => Self::If,
            "then" => Self::Then,
            "else" => Self::Else,
            "case" => Self::Case,
            "of" => Self::Of,
            "when" => Self::When,
            "module" => Self::Module,
            "import" => Self::Import,
            "export" => Self::Export,
            "as" => Self::As,
            "qualified" => Self::Qualified,
            "private" => Self::Private,
            "trait" => Self::Trait,
            "extends" => Self::Extends,
            "forall" => Self::Forall,
            "actor" => Self::Actor,
            "supervisor" => Self::Supervisor,
            "effect" => Self::Effect,
            "operation" => Self::Operation,
            "perform" => Self::Perform,
            "try" => Self::Try,
            "with" => Self::With,
            "for" => Self::For,
            "loop" => Self::Loop,
            "return" => Self::Return,
            "fn" => Self::Fn,
            _ => return None,
        })
    }
}

/// A token and its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its bytes.
    pub span: Span,
}

/// All tokens of a source with its white space and comments, in order and without gaps: the source can be written
/// again from them, byte for byte, and a formatter can find what stands between two nodes of the tree.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tokens {
    pub(crate) list: Vec<Token>,
}

impl Tokens {
    /// The tokens in order, white space and comments among them; no [`TokenKind::Eof`].
    pub fn as_slice(&self) -> &[Token] {
        &self.list
    }

    /// The tokens with their text. `source` is the text that was parsed.
    pub fn texts<'a>(&'a self, source: &'a str) -> impl Iterator<Item = (TokenKind, &'a str)> + 'a {
        self.list.iter().map(|token| (token.kind, source.get(range(token.span)).unwrap_or_default()))
    }

    /// The tokens that lie wholly inside `span`, as for a node of the tree.
    pub fn within(&self, span: Span) -> &[Token] {
        let first = self.list.partition_point(|token| token.span.start < span.start);
        let last = self.list.partition_point(|token| token.span.end <= span.end);
        self.list.get(first..last).unwrap_or_default()
    }
}

/// A span as a range of indices.
pub(crate) const fn range(span: Span) -> std::ops::Range<usize> {
    span.start as usize..span.end as usize
}
