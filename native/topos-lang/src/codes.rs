//! The table of codes of names, types, effects and patterns, for `topos explain`.
//!
//! A code is stable: it is never given to another mistake, and what is no longer reported stays in the table.

use crate::diagnostic::Code;

pub use crate::syntax::codes::Explanation;

macro_rules! codes {
    ($($name:ident = $code:literal, $title:literal, $text:literal;)*) => {
        $(#[doc = $title] pub const $name: Code = Code($code);)*
        /// All codes of this table, in order.
        pub const EXPLANATIONS: &[Explanation] = &[
            $(Explanation { code: Code($code), title: $title, text: $text },)*
        ];
    };
}

codes! {
    UNKNOWN_NAME = 100, "unknown name",
        "No variable, flow or config of this name is in scope. Check the spelling, or import the module that has it.";
    UNKNOWN_TYPE = 101, "unknown type",
        "No type of this name is in scope. A type of another module is written with the module's name, `P.Config`, or imported.";
    UNKNOWN_CONSTRUCTOR = 102, "unknown constructor",
        "No constructor of this name is in scope. `P.FullMesh` and `P.Topology.FullMesh` both name one of module `P`.";
    UNKNOWN_EFFECT = 103, "unknown effect",
        "No effect of this name is in scope. Effects are declared with `effect E { operation .. }`.";
    UNKNOWN_OPERATION = 104, "unknown operation",
        "The effect has no such operation, or no effect in scope has it.";
    UNKNOWN_MODULE = 105, "unknown module",
        "There is no module of this name, or the qualifier before a name is not an imported module.\n\
         `import Topos.List` brings the names of the module and the qualifier `List`; with `as L` the qualifier is `L`.";
    NOT_EXPORTED = 106, "name that the module does not export",
        "The module has no such name, or keeps it `private`, or its `export` list leaves it out.";
    AMBIGUOUS_NAME = 107, "ambiguous name",
        "Several imported modules have this name. Write the module before it, or import the names you need in a list.";
    DEFINED_TWICE = 108, "name defined twice",
        "A module has one flow, type, constructor or effect of a name. Clauses of one flow must stand together.";
    IMPORT_CYCLE = 109, "modules that import each other",
        "Modules are compiled one after the other, so imports must not form a circle. Move what both need into a third module.";
    UNKNOWN_EXPORT = 111, "export of an unknown name",
        "The `export` list names something that this module does not declare.";
    UNKNOWN_TYPE_VARIABLE = 112, "unknown type variable",
        "The right side of a type uses a variable that is not among its parameters: `type Box a = Box(a)`.";
    BOUND_TWICE = 114, "variable bound twice",
        "A pattern, or the parameters of one function, bind each variable once. Compare with `==` in a guard instead.";
    FIELD_TWICE = 115, "field given twice",
        "A record has each field once.";
    ALIAS_CYCLE = 116, "type that is another name of itself",
        "A type alias is replaced by its definition, so it cannot mention itself. Use a `shape` with a constructor.";
    SAME_ATOM = 117, "constructors with the same run-time name",
        "At run time the constructor `NodeUp` is the atom `node_up`; two constructors of a type need different atoms.";

    MISMATCH = 200, "type mismatch",
        "The expression has another type than its place wants.";
    INFINITE_TYPE = 201, "infinite type",
        "The type would contain itself, as in `fn(x) -> x(x)`. Often an argument is missing or one too many.";
    TOO_GENERAL = 202, "less general than its signature",
        "A type variable of a signature stands for every type, so the body may not assume that it is, say, `Int`, \
         nor that two variables are the same. Make the signature say what the body needs.";
    NOT_A_FUNCTION = 203, "call of something that is no function",
        "The value takes no argument, or fewer than it was given.";
    TYPE_ARGUMENTS = 204, "wrong number of type arguments",
        "A type is given exactly as many arguments as it has parameters.";
    NO_FIELD = 205, "no such field",
        "The record has no field of this name, and its type's module has no companion function of this name.";
    MISSING_FIELDS = 206, "fields missing in a record",
        "A literal of a nominal record gives every field that has no default.";
    COMPARES_FUNCTIONS = 207, "comparison of functions",
        "`==` compares by structure, and functions have none that could be compared.";
    TYPE_UNKNOWN_HERE = 208, "type must be known here",
        "`e.m(args)` looks for `m` in the module of e's type, so that type must be known at this place. Annotate it.";
    OPERAND = 209, "wrong operand",
        "The operator, or the number literal, is not defined for this type: `+` takes two numbers of one type, `++` two texts or two \
         lists, and a number stands where a number is wanted. An f-string makes a text of any value: `f\"{6 * 7}\"`.";
    TYPE_TOO_LARGE = 210, "type too large",
        "The type is nested too deeply or has too many parts to be worked with. Give a part of it a name with `type`.";
    SIGNATURE_ARITY = 211, "parameters do not fit the signature",
        "The clauses of a flow have as many parameters as each other, and not more than its signature has domains.";
    NO_BODY = 212, "flow without a body",
        "A signature is followed by `= body`, or by clauses of the same name.";
    AMBIGUOUS_TYPE = 213, "ambiguous operator",
        "No longer reported: an operator without a known type is TP0511.";
    BAD_EXTERN = 214, "unusable extern target",
        "An extern flow names an Erlang function, `\"module:function\"`; an extern handler an Erlang module, `\"module\"`.";
    LITERAL_RANGE = 215, "number out of range",
        "A Float literal must be a finite 64-bit float, a Duration a 64-bit number of milliseconds. An Int has any size.";
    BAD_MAIN = 216, "unusable main",
        "A program's `main` is a flow `() -> () / {..}` or `[Text] -> () / {..}`.";
    DROPPED_FUNCTION = 219, "function that is not called",
        "The value of a statement that is not the last is dropped. Dropping a function does nothing: call it.";
    KIND = 220, "effect row where a type is wanted, or the other way round",
        "A variable stands either for a type or for a row, in the whole signature.";
    UNTYPED_PARAMETER = 221, "parameter without a type",
        "Operations and extern handlers have no body from which a type could be inferred.";

    BAD_IMPL = 222, "unusable `impl`",
        "`impl T { m : A -> B = .. }` gives the record or shape `T` members: `e.m(x)`. It stands in the module of its type.";

    MISSING_EFFECT = 300, "effect that the row does not have",
        "A flow may only do what its row says; no row means that it does nothing but compute. Add the effect to the row \
         after the slash, or handle it with `with`.";
    ROOT_EFFECT = 301, "effect of main without a handler",
        "The row of `main` is handled by the handlers that are installed at start. Other effects need a `with` in the program.";
    AMBIGUOUS_OPERATION = 302, "operation of several effects",
        "Several effects in scope have this operation. Write the effect before it: `perform E.op(..)`.";
    ARGUMENT_COUNT = 303, "wrong number of arguments",
        "An operation, a handler or a constructor is given all its arguments at once.";
    GUARD_PERFORMS = 304, "guard that performs",
        "A guard is tried in order with others and may be tried in vain, so it must be pure.";
    CONFIG_PERFORMS = 305, "config that performs",
        "A config, and the default of a record field, is a constant: it must be pure.";
    NOT_A_HANDLER = 306, "not a handler",
        "`with` takes calls of handlers: `with counter(0) { .. }`.";

    RESUMES = 307, "clause that resumes by itself",
        "A clause of a handler answers the `perform` with its value, once, when it ends. Continuations that are kept, called \
         twice or called later do not exist on this run time. `abort e` leaves the `with` instead.";
    MISSING_CLAUSE = 308, "operation without a clause",
        "A handler has a clause for every operation of its effect.";
    UNKNOWN_CLAUSE = 309, "clause for an unknown operation",
        "A handler has clauses for the operations of its effect, and besides them `init`, `finally` and `return`.";
    NOT_STATE = 310, "assignment to something that is no state",
        "`:=` and `atomic` work on `state` variables of the handler or actor around them: `x := e`, `x.a.b := e`, `x.a[k] := e`. \
         Everything else never changes.";
    BAD_SUPERVISOR = 311, "unusable supervisor",
        "A supervisor is a record literal: `strategy` (`OneForOne`, `OneForAll` or `RestForOne`), `intensity` restarts within \
         `period`, and `children`, a list of what starts them, or of records with `id`, `restart` and `start`. With `SimpleOneForOne` \
         it has one `child`, a function that starts each worker, and its `restart`.";

    HANDLER_VALUE = 312, "handler that cannot be a value",
        "`let h = counter(1)` makes a value of the type `Handler(Counter)`, which says nothing about what runs under it. So a handler \
         that aborts, or whose `return` clause makes another type, cannot be one: write it into the `with`.";

    NOT_PORTABLE = 313, "effect or state that cannot travel",
        "What `Topos.Remote.spawn_on` starts, or `Topos.Runner.on_node` calls, runs on another node, with the handlers that are \
         installed there at start: IO, Process, Time, Random, Distributed, Channel. A handler of a `with`, and its state, stay where they are.";

    BAD_TEST = 350, "unusable test",
        "A test or property ends in `()`, and its effects have handlers: those that are installed at start, or a `with` in it.";
    NO_GENERATOR = 351, "type without a generator",
        "`forall` makes values of Int, Float, Text, Bool, Duration, (), lists, maps, tuples, records and shapes of such. \
         Functions, processes, nodes and opaque types cannot be made: generate what they are made of.";
    FORALL_OUTSIDE = 352, "`forall` outside of a test",
        "`forall (x : T) { .. }` belongs into `property \"..\" { .. }` or `test \"..\" { .. }`.";

    PATTERN_ARITY = 400, "wrong number of fields in a pattern",
        "A constructor's pattern has a pattern for each of its fields; `_` where it does not matter.";
    NOT_EXHAUSTIVE = 401, "match that is not exhaustive",
        "There is a value that no arm matches. Add an arm for it, or a last arm `| _ -> ..`.";
    REDUNDANT = 402, "arm that never matches",
        "The arms before it match everything that it matches.";
    REFUTABLE = 403, "pattern that may fail",
        "A `let`, a parameter and the head of a `for` need a pattern that always matches. Use `match`.";
    ALTERNATIVES = 404, "alternatives that bind different variables",
        "`| p | q -> e`: whichever matches, e needs the same variables with the same types.";
    SCRUTINEES = 405, "wrong number of patterns in an arm",
        "`match a, b` has two patterns in each arm.";

    UNKNOWN_TRAIT = 500, "unknown trait",
        "No trait of this name is in scope. `Eq`, `Ord`, `Show` and `Num` are of the prelude.";
    TRAIT_ARGUMENTS = 501, "wrong number of types for a trait",
        "A trait is given as many types as it has parameters, at least one.";
    SUPERCLASS_CYCLE = 502, "trait that extends itself",
        "The dictionary of a trait holds those of its superclasses, so no trait can be its own.";
    UNTYPED_MEMBER = 503, "member without a type",
        "A trait says the type of each member; a default follows it: `neq : a -> a -> Bool`, `neq x y = not(eq(x, y))`.";
    UNKNOWN_MEMBER = 504, "no such member of the trait",
        "An instance defines the members of its trait, without their types.";
    MISSING_MEMBER = 505, "member missing in an instance",
        "An instance defines every member that has no default.";
    BAD_INSTANCE = 506, "unusable instance",
        "An instance is for a named type or a tuple. Its context constrains the type variables in it, so that looking for instances ends.";
    ORPHAN = 507, "instance that belongs to neither of its modules",
        "An instance stands in the module of its trait or of its type, so that two modules never disagree about it. Built-in types belong to the prelude. Wrap the type in a `shape` of this module.";
    TWO_INSTANCES = 508, "second instance of a trait for a type",
        "A trait has one instance for each type constructor. Wrap the type in a `shape` to give it another.";
    NO_INSTANCE_FOUND = 509, "missing instance",
        "What is called, or the operator, needs an instance of a trait that the type does not have.";
    MISSING_CONSTRAINT = 510, "constraint that the signature does not have",
        "A type variable of a signature has the instances that its constraints say: `flow max : Ord a => a -> a -> a`. Those of a \
         handler or an operation are said where they are bound: `handler h[a : Ord](x : a)`, `operation put[a : Show](x : a)`.";
    AMBIGUOUS_INSTANCE = 511, "ambiguous instance",
        "No value of a known type says which instance is meant. Annotate one: `(empty : Text)`.";
    NOT_DERIVABLE = 512, "trait that cannot be derived",
        "`deriving` makes instances of Eq, Ord, Show and Serializable for shapes and records.";

    NO_HANDLER_DECL = 900, "handlers written in Topos",
        "No longer reported: they are compiled now.";
    NO_TRAIT = 901, "traits are not supported yet", "No longer reported: traits are compiled.";
    NO_INSTANCE = 902, "instances are not supported yet", "No longer reported: instances are compiled.";
    NO_PROTOCOL = 903, "protocols are not supported yet", "They are parsed, but not checked or compiled.";
    NO_SESSION = 904, "sessions are not supported yet", "They are parsed, but not checked or compiled.";
    NO_ACTOR = 905, "actors", "No longer reported: they are compiled now.";
    NO_SUPERVISOR = 906, "supervisors", "No longer reported: they are compiled now.";
    NO_IMPL = 907, "`impl`", "No longer reported: its members are compiled now.";
    NO_TEST = 908, "tests are not supported yet", "They are parsed, but not checked or compiled.";
    NO_PROPERTY = 909, "properties are not supported yet", "They are parsed, but not checked or compiled.";
    NO_TRY = 910, "`try` is not supported in the prelude", "Its arms catch the type `Failure` of the prelude.";
    NO_ASSIGN = 911, "assignment with `:=`", "No longer reported: state variables are compiled now.";
    NO_FOR = 912, "`for` is not supported in the prelude", "It is made with a flow of the prelude.";
    NO_RETURN = 913, "`return` that nothing can take",
        "A `return` leaves the flow, the clause or the `fn` around it, also out of `for`, `loop` and `with`. A block that is an \
         argument of a function may run later, in another process, or never: write `fn() -> ..` to return from the block itself.";
    NO_LOOP = 914, "`loop` is not supported in the prelude", "It is made with a flow of the prelude.";
    NO_ATOMIC = 915, "`atomic`", "No longer reported: it is compiled now.";
    NO_CONSTRAINT = 916, "constraint of a type that has no values of its own",
        "The constraint of a record or a shape, `type Box a : Ord a => { value : a }`, is looked at where a value is made. Another \
         name of a type, and an opaque type, make none: constrain the flows that use it.";
    NO_DERIVING = 917, "`deriving` is not supported yet",
        "No longer reported: Eq, Ord, Show and Serializable are derived.";
    NO_INDEX = 918, "indexing is not supported in the prelude", "It is made with a flow of the prelude.";
    NO_HIGHER_KIND = 919, "type variables with arguments are not supported yet",
        "No longer reported: a type variable may have arguments.";
    NO_FORALL = 920, "`forall` blocks are not supported yet", "They belong to properties, which are not compiled yet.";
    NO_ORDER = 921, "ordering of this type is not supported yet",
        "No longer reported: types derive `Ord`, and a missing instance is TP0509.";
    TOO_MANY_PARAMETERS = 981, "too many parameters",
        "A flow, a function or a constructor has more than 250 parameters, which the BEAM cannot call. Pass them as a record.";
    NAME_TOO_LONG = 982, "name too long", "The BEAM allows names of 255 characters. Choose a shorter one.";
    FLOAT_OUT_OF_RANGE = 983, "number too large for a Float", "The largest Float is about 1.8e308.";
    RESERVED_NAME = 984, "reserved name",
        "Every Erlang module has a function of this name, so a flow cannot have it. Choose another one.";
}

/// What a code of the compiler means, those of lexer and parser among them.
pub fn explain(code: Code) -> Option<&'static Explanation> {
    EXPLANATIONS.iter().find(|e| e.code == code).or_else(|| crate::syntax::codes::explain(code))
}

#[cfg(test)]
mod tests {
    use super::{explain, EXPLANATIONS};

    #[test]
    fn codes_are_in_order_and_each_is_explained() {
        assert!(EXPLANATIONS.windows(2).all(|pair| pair[0].code < pair[1].code));
        for e in EXPLANATIONS {
            assert!(!e.title.is_empty() && !e.text.is_empty());
            assert!(!e.title.ends_with('.'));
            assert_eq!(explain(e.code), Some(e));
        }
    }
}
