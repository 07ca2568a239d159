//! Abstract format as bytes of the external term format (version 131).
//!
//! The bytes are written straight from the model, without a tree of terms between: a list literal of a hundred thousand
//! elements is that deep a nest of `{cons, _, Head, Tail}`, and a writer that recursed along it would overflow its stack.
//! Every annotation says `generated`, so that the Erlang compiler does not warn about what the Topos checker has
//! judged already (a condition that is always true, a value that is dropped).

use super::forms::{Anno, Callee, Clause, Expr, Form, Kind, Segment, Type};

/// Appends the bytes of the list of forms.
pub(super) fn encode(forms: &[Form], out: &mut Vec<u8>) {
    out.push(131);
    let mut w = Writer { out };
    w.list_header(forms.len() + 1);
    for form in forms {
        w.form(form);
    }
    w.tuple("eof", last_line(forms), 2);
    w.nil();
}

fn last_line(forms: &[Form]) -> Anno {
    let line = forms.iter().map(|f| if let Form::Function { anno, .. } = f { anno.line } else { 1 }).max();
    Anno { line: line.unwrap_or(1) + 1, column: 1 }
}

const HEAD: Anno = Anno { line: 1, column: 1 };

/// `[{generated, true}, {location, {` up to the line: a third of all bytes.
const ANNO: &[u8] = b"\x6c\0\0\0\x02\x68\x02\x77\x09generated\x77\x04true\x68\x02\x77\x08location\x68\x02";

struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    /// Lengths come from source text that fits a 32-bit span, so they fit the format's 32 bits.
    fn u32(&mut self, n: usize) {
        self.out.extend_from_slice(&u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes());
    }

    fn nil(&mut self) {
        self.out.push(106);
    }

    fn list_header(&mut self, len: usize) {
        if len > 0 {
            self.out.push(108);
            self.u32(len);
        }
    }

    fn tuple_header(&mut self, len: usize) {
        match u8::try_from(len) {
            Ok(small) => self.out.extend([104, small]),
            Err(_) => {
                self.out.push(105);
                self.u32(len);
            }
        }
    }

    fn atom(&mut self, name: &str) {
        match u8::try_from(name.len()) {
            Ok(small) => self.out.extend([119, small]),
            Err(_) => {
                self.out.push(118);
                self.out.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes());
            }
        }
        self.out.extend_from_slice(name.as_bytes());
    }

    fn int(&mut self, n: u32) {
        match (u8::try_from(n), i32::try_from(n)) {
            (Ok(small), _) => self.out.extend([97, small]),
            (_, Ok(signed)) => {
                self.out.push(98);
                self.out.extend_from_slice(&signed.to_be_bytes());
            }
            _ => self.big(&n.to_le_bytes()),
        }
    }

    /// A positive integer from its bytes, least significant first.
    fn big(&mut self, bytes: &[u8]) {
        match u8::try_from(bytes.len()) {
            Ok(small) => self.out.extend([110, small]),
            Err(_) => {
                self.out.push(111);
                self.u32(bytes.len());
            }
        }
        self.out.push(0);
        self.out.extend_from_slice(bytes);
    }

    fn decimal(&mut self, digits: &str) {
        match digits.parse::<u32>() {
            Ok(n) => self.int(n),
            Err(_) => self.big(&bytes_of_decimal(digits)),
        }
    }

    fn string(&mut self, text: &str) {
        let chars: Vec<u32> = text.chars().map(u32::from).collect();
        self.list_header(chars.len());
        for c in chars {
            self.int(c);
        }
        self.nil();
    }

    fn anno(&mut self, anno: Anno) {
        self.out.extend_from_slice(ANNO);
        self.int(anno.line);
        self.int(anno.column);
        self.nil();
    }

    fn location(&mut self, anno: Anno) {
        self.tuple_header(2);
        self.int(anno.line);
        self.int(anno.column);
    }

    /// The head of `{tag, Anno, ..}`, `size` elements in all.
    fn tuple(&mut self, tag: &str, anno: Anno, size: usize) {
        self.tuple_header(size);
        self.atom(tag);
        self.anno(anno);
    }

    fn attribute(&mut self, anno: Anno, name: &str) {
        self.tuple("attribute", anno, 4);
        self.atom(name);
    }

    fn name_arity(&mut self, name: &str, arity: usize) {
        self.tuple_header(2);
        self.atom(name);
        self.arity(arity);
    }

    fn arity(&mut self, arity: usize) {
        self.int(u32::try_from(arity).unwrap_or(u32::MAX));
    }

    fn form(&mut self, form: &Form) {
        match form {
            Form::File(path) => {
                // Not generated: such a `file` attribute would be a `-file(..)` that somebody wrote, which tools like cover drop.
                self.tuple_header(4);
                self.atom("attribute");
                self.location(HEAD);
                self.atom("file");
                self.tuple_header(2);
                self.string(path);
                self.int(1);
            }
            Form::Module(name) => {
                self.attribute(HEAD, "module");
                self.atom(name);
            }
            Form::Export(functions) => {
                self.attribute(HEAD, "export");
                self.list_header(functions.len());
                for (name, arity) in functions {
                    self.name_arity(name, *arity);
                }
                self.nil();
            }
            Form::Compile(options) => {
                self.attribute(HEAD, "compile");
                self.list_header(options.len());
                for option in options {
                    self.atom(option);
                }
                self.nil();
            }
            Form::Spec { anno, name, params, returns } => {
                self.attribute(*anno, "spec");
                self.tuple_header(2);
                self.name_arity(name, params.len());
                self.list_header(1);
                self.tuple("type", *anno, 4);
                self.atom("fun");
                self.list_header(2);
                self.tuple("type", *anno, 4);
                self.atom("product");
                self.types(*anno, params);
                self.type_(*anno, returns);
                self.nil();
                self.nil();
            }
            Form::Function { anno, name, clause } => {
                self.tuple("function", *anno, 5);
                self.atom(name);
                self.arity(clause.patterns.len());
                self.clauses(std::slice::from_ref(clause));
            }
        }
    }

    fn types(&mut self, anno: Anno, types: &[Type]) {
        self.list_header(types.len());
        for t in types {
            self.type_(anno, t);
        }
        self.nil();
    }

    fn type_(&mut self, anno: Anno, t: &Type) {
        match t {
            Type::Atom(name) => {
                self.tuple("atom", anno, 3);
                self.atom(name);
                return;
            }
            _ => self.tuple("type", anno, 4),
        }
        match t {
            Type::Atom(_) => {}
            Type::AnyMap => {
                self.atom("map");
                self.atom("any");
            }
            Type::Named(name, args) => {
                self.atom(name);
                self.types(anno, args);
            }
            Type::Tuple(elements) => {
                self.atom("tuple");
                self.types(anno, elements);
            }
            Type::Union(members) => {
                self.atom("union");
                self.types(anno, members);
            }
            Type::Map(key, value) => {
                self.atom("map");
                self.list_header(1);
                self.tuple("type", anno, 4);
                self.atom("map_field_assoc");
                self.list_header(2);
                self.type_(anno, key);
                self.type_(anno, value);
                self.nil();
                self.nil();
            }
            Type::Record(fields) => {
                self.atom("map");
                self.list_header(fields.len());
                for (field, t) in fields {
                    self.tuple("type", anno, 4);
                    self.atom("map_field_exact");
                    self.list_header(2);
                    self.type_(anno, &Type::Atom(field.clone()));
                    self.type_(anno, t);
                    self.nil();
                }
                self.nil();
            }
        }
    }

    fn clauses(&mut self, clauses: &[Clause]) {
        self.list_header(clauses.len());
        for clause in clauses {
            self.tuple("clause", clause.anno, 5);
            self.exprs(&clause.patterns);
            if let Some(guard) = &clause.guard {
                self.list_header(1);
                self.exprs(std::slice::from_ref(guard));
            }
            self.nil();
            self.exprs(&clause.body);
        }
        self.nil();
    }

    fn exprs(&mut self, exprs: &[Expr]) {
        self.list_header(exprs.len());
        for e in exprs {
            self.expr(e);
        }
        self.nil();
    }

    fn fields(&mut self, anno: Anno, tag: &str, fields: &[(Expr, Expr)]) {
        self.list_header(fields.len());
        for (key, value) in fields {
            self.tuple(tag, anno, 4);
            self.expr(key);
            self.expr(value);
        }
        self.nil();
    }

    fn expr(&mut self, e: &Expr) {
        let anno = e.anno;
        match &e.kind {
            Kind::Var(name) => {
                self.tuple("var", anno, 3);
                self.atom(name);
            }
            Kind::Any => {
                self.tuple("var", anno, 3);
                self.atom("_");
            }
            Kind::Atom(name) => {
                self.tuple("atom", anno, 3);
                self.atom(name);
            }
            Kind::Integer(digits) => {
                self.tuple("integer", anno, 3);
                self.decimal(digits);
            }
            Kind::Float(value) => {
                self.tuple("float", anno, 3);
                self.out.push(70);
                self.out.extend_from_slice(&value.to_be_bytes());
            }
            Kind::Binary(segments) => self.binary(anno, segments),
            Kind::Tuple(elements) => {
                self.tuple("tuple", anno, 3);
                self.exprs(elements);
            }
            Kind::List(elements, tail) => {
                for element in elements {
                    self.tuple("cons", anno, 4);
                    self.expr(element);
                }
                match tail {
                    Some(tail) => self.expr(tail),
                    None => self.tuple("nil", anno, 2),
                }
            }
            Kind::Map(fields) => {
                self.tuple("map", anno, 3);
                self.fields(anno, "map_field_assoc", fields);
            }
            Kind::MapPattern(fields) => {
                self.tuple("map", anno, 3);
                self.fields(anno, "map_field_exact", fields);
            }
            Kind::MapUpdate(base, fields) => {
                self.tuple("map", anno, 4);
                self.expr(base);
                self.fields(anno, "map_field_exact", fields);
            }
            Kind::Call(callee, args) => {
                self.tuple("call", anno, 4);
                match callee {
                    Callee::Local(name) => {
                        self.tuple("atom", anno, 3);
                        self.atom(name);
                    }
                    Callee::Remote(module, function) => {
                        self.tuple("remote", anno, 4);
                        self.expr(module);
                        self.expr(function);
                    }
                    Callee::Value(function) => self.expr(function),
                }
                self.exprs(args);
            }
            Kind::Fun(clause) => {
                self.tuple("fun", anno, 3);
                self.tuple_header(2);
                self.atom("clauses");
                self.clauses(std::slice::from_ref(&**clause));
            }
            Kind::LocalFun(name, arity) => {
                self.tuple("fun", anno, 3);
                self.tuple_header(3);
                self.atom("function");
                self.atom(name);
                self.arity(*arity);
            }
            Kind::RemoteFun(module, name, arity) => {
                self.tuple("fun", anno, 3);
                self.tuple_header(4);
                self.atom("function");
                self.tuple("atom", anno, 3);
                self.atom(module);
                self.tuple("atom", anno, 3);
                self.atom(name);
                self.tuple("integer", anno, 3);
                self.arity(*arity);
            }
            Kind::Case(scrutinee, clauses) => {
                self.tuple("case", anno, 4);
                self.expr(scrutinee);
                self.clauses(clauses);
            }
            Kind::Block(body) => {
                self.tuple("block", anno, 3);
                self.exprs(body);
            }
            Kind::Match(pattern, value) => {
                self.tuple("match", anno, 4);
                self.expr(pattern);
                self.expr(value);
            }
            Kind::Binary2(op, left, right) => {
                self.tuple("op", anno, 5);
                self.atom(op);
                self.expr(left);
                self.expr(right);
            }
            Kind::Unary(op, operand) => {
                self.tuple("op", anno, 4);
                self.atom(op);
                self.expr(operand);
            }
        }
    }

    fn binary(&mut self, anno: Anno, segments: &[Segment]) {
        self.tuple("bin", anno, 3);
        self.list_header(segments.len());
        for segment in segments {
            self.tuple("bin_element", anno, 5);
            let kind = match segment {
                Segment::Text(text) => {
                    self.tuple("string", anno, 3);
                    self.string(text);
                    "utf8"
                }
                Segment::Value(value) => {
                    self.expr(value);
                    "binary"
                }
            };
            self.atom("default");
            self.list_header(1);
            self.atom(kind);
            self.nil();
        }
        self.nil();
    }
}

/// The bytes of a decimal number, least significant first, without leading zeros.
fn bytes_of_decimal(digits: &str) -> Vec<u8> {
    let mut limbs: Vec<u32> = Vec::new();
    for chunk in digits.as_bytes().chunks(9) {
        let mut carry = chunk.iter().fold(0u64, |n, d| n * 10 + u64::from(d - b'0'));
        let scale = 10u64.pow(chunk.len() as u32);
        for limb in &mut limbs {
            let n = u64::from(*limb) * scale + carry;
            *limb = n as u32;
            carry = n >> 32;
        }
        if carry > 0 {
            limbs.push(carry as u32);
        }
    }
    let mut bytes: Vec<u8> = limbs.iter().flat_map(|limb| limb.to_le_bytes()).collect();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::bytes_of_decimal;

    #[test]
    fn decimals_become_little_endian_bytes() {
        for n in [0u128, 1, 255, 256, 4_294_967_296, 1_000_000_000, 999_999_999_999_999_999, u128::MAX] {
            let mut expected: Vec<u8> = n.to_le_bytes().to_vec();
            while expected.last() == Some(&0) {
                expected.pop();
            }
            assert_eq!(bytes_of_decimal(&n.to_string()), expected, "{n}");
        }
    }
}
