//! Traits on a BEAM: what instances, dictionaries and operators do.

use crate::programs::run;

const SHAPES: &str = r#"
module Shapes

trait Area a where
  area : a -> Int
  twice : a -> Int
  twice x = 2 * area(x)

trait Solid a extends Area a where
  height : a -> Int
  volume : a -> Int
  volume x = area(x) * height(x)

shape Square = Square(Int)
shape Box = Box(Int, Int)

instance Area Square where
  area (Square(n)) = n * n

instance Area Box where
  area (Box(n, _)) = n * n
  twice _ = -1

instance Solid Box where
  height (Box(_, h)) = h

instance Area a => Area (List a) where
  area xs = match xs { | [] -> 0 | x :: rest -> area(x) + area(rest) }

shape Money = Money(Int)
instance Eq Money where
  equal (Money(a)) (Money(b)) = a / 100 == b / 100
instance Ord Money where
  compare (Money(a)) (Money(b)) = compare(b, a)
instance Show Money where
  show (Money(n)) = show(n) ++ " cents"
instance Num Money where
  add (Money(a)) (Money(b)) = Money(a + b)
  subtract (Money(a)) (Money(b)) = Money(a - b)
  multiply (Money(a)) (Money(b)) = Money(a * b)
  divide (Money(a)) (Money(b)) = Money(a / b)
  from_int n = Money(n)
instance Combiner Money where
  combine (Money(a)) (Money(b)) = Money(a + b)

shape Suit = Spades | Hearts(Int) | Clubs(Money)
  deriving [Eq, Ord, Show]
type Card a = { suit : Suit, value : a } deriving [Eq, Ord]
"#;

#[test]
fn members_defaults_and_superclasses() {
    let source = r#"
module Test
import Shapes

flow known() = (area(Square(3)), twice(Square(3)), twice(Box(1, 2)), volume(Box(2, 5)))
flow total : Area a => (xs : [a]) -> Int =
  match xs { | [] -> 0 | x :: rest -> twice(x) + total(rest) }
flow solid : Solid a => (x : a) -> (Int, Int) = (area(x), volume(x))
flow inferred x y = area(x) + volume(y)
flow given() = (total([Square(1), Square(2)]), total([Box(1, 1)]), solid(Box(3, 2)), inferred([Square(2)], Box(1, 7)))
flow nested() = area([[Square(1)], [Square(2), Square(3)]])
flow value() = { let f = area
 [f(Square(1)), f(Square(4))] }
flow through : Area a => (x : a) -> [Int] = { let f = fn(y) -> area([x, y])
 [f(x), area([[x]])] }
flow throughs() = through(Square(1))
flow even n = if n == 0 { true } else { odd(n - 1) }
flow odd n = if n == 0 { false } else { even(n - 1) }
flow ping x = if area(x) > 10 { 0 } else { pong(x) }
flow pong x = 1 + (if twice(x) > 100 { ping(x) } else { area(x) })
flow mutual() = (even(10), ping(Square(2)), pong(Square(8)))
"#;
    run(
        &[SHAPES, source],
        &[
            ("'Test':known()", "{9,18,-1,20}"),
            ("'Test':given()", "{10,-1,{9,18},11}"),
            ("'Test':nested()", "14"),
            ("'Test':value()", "[1,16]"),
            ("'Test':mutual()", "{true,5,1}"),
            ("'Test':throughs()", "[2,1]"),
        ],
    );
}

#[test]
fn operators_follow_instances() {
    let source = r#"
module Test
import Shapes

flow equal_money() = (Money(120) == Money(199), Money(120) != Money(199), Money(99) == Money(120))
flow inside() = ([Money(120)] == [Money(199)], (1, Money(120)) == (1, Money(199)), Some(Money(1)) == Some(Money(2)))
flow order_money() = (Money(1) < Money(2), Money(1) >= Money(2), max(Money(1), Money(2)), [Money(3)] < [Money(1)])
flow numbers() = (Money(1) + 2, 3 * Money(4), -Money(5), 10 - Money(1))
flow generic x y = (x + y, x * y)
flow used() = (generic(1, 2), generic(1.5, 2.0), generic(Money(2), Money(5)), generic(1s, 2ms))
flow joined x y = x ++ y
flow joins() = (joined("a", "b"), joined([1], [2]), joined(Money(1), Money(2)), Some([1]) <> None <> Some([2]))
flow smaller x y = x < y
flow orders() = (smaller(1, 2), smaller("b", "a"), smaller([1, 2], [1]), smaller((1, "a"), (1, "b")), smaller(Money(1), Money(2)))
flow derived() = (Spades < Hearts(1), Hearts(1) < Hearts(2), Clubs(Money(1)) < Spades, Clubs(Money(1)) < Clubs(Money(0)))
flow derived_equal() = (Clubs(Money(100)) == Clubs(Money(150)), Hearts(1) == Hearts(1), Hearts(1) == Spades)
flow records() = (card(1) < {suit = Spades, value = 2}, card(1) == card(1), compare(card("b"), card("a")))
flow card : (x : a) -> Card a = {suit = Spades, value = x}
flow shown() = (f"{Money(3)} {[Money(1), Money(2)]} {(1, Money(4))} {Some(1)}", show(Money(7)), show([1, 2]), show(Hearts(2)))
flow any : (x : a) -> Text = f"<{x}>"
flow some : Show a => (x : a) -> Text = f"<{x}>"
flow shows() = (any(Money(1)), some(Money(1)), some("t"), some([Some(2)]))
flow empties() : ([Int], Text, Maybe Text) = (empty, empty, empty)
flow all() = (accumulate([[1], [2, 3]]), accumulate(["a", "b"]), accumulate([Before, After]))
flow indexed : (m : Map Text Int) -> (Maybe Int, Maybe Text, Maybe Int) = { let xs = ["x", "y"]
 (m["a"], xs[1], m["b"]) }
flow defaults() = [] == []
"#;
    run(
        &[SHAPES, source],
        &[
            ("'Test':equal_money()", "{true,false,false}"),
            ("'Test':inside()", "{true,true,true}"),
            ("'Test':order_money()", "{false,true,{money,1},true}"),
            ("'Test':numbers()", "{{money,3},{money,12},{money,-5},{money,9}}"),
            ("'Test':used()", "{{3,2},{3.5,3.0},{{money,7},{money,10}},{1002,2000}}"),
            ("'Test':joins()", "{<<\"ab\">>,[1,2],{money,3},{some,[1,2]}}"),
            ("'Test':orders()", "{true,false,false,true,false}"),
            ("'Test':derived()", "{true,true,false,true}"),
            ("'Test':derived_equal()", "{true,true,false}"),
            ("'Test':records()", "{true,true,'after'}"),
            (
                "'Test':shown()",
                "{<<\"3 cents [1 cents, 2 cents] (1, 4 cents) Some(1)\">>,<<\"7 cents\">>,<<\"[1, 2]\">>,<<\"Hearts(2)\">>}",
            ),
            ("'Test':shows()", "{<<\"<Money(1)>\">>,<<\"<1 cents>\">>,<<\"<t>\">>,<<\"<[Some(2)]>\">>}"),
            ("'Test':empties()", "{[],<<>>,none}"),
            ("'Test':all()", "{[1,2,3],<<\"ab\">>,before}"),
            ("'Test':indexed(#{<<\"a\">> => 1})", "{{some,1},{some,<<\"y\">>},none}"),
            ("'Test':defaults()", "true"),
        ],
    );
}

#[test]
fn constructors_of_types() {
    let source = r#"
module Test

shape Tree a = Leaf | Branch(Tree a, a, Tree a)

instance Mapper Tree where
  map f t = match t { | Leaf -> Leaf | Branch(l, x, r) -> Branch(map(f, l), f(x), map(f, r)) }
instance Foldable Tree where
  fold f start t = match t { | Leaf -> start | Branch(l, x, r) -> fold(f, f(fold(f, start, l), x), r) }
instance Traversable Tree where
  traverse f t = match t {
    | Leaf -> pure(Leaf)
    | Branch(l, x, r) ->
        apply(apply(map(fn(a) -> fn(b) -> fn(c) -> Branch(a, b, c), traverse(f, l)), f(x)), traverse(f, r))
  }

shape State s a = State(s -> (s, a))
instance Mapper (State s) where
  map f (State(run)) = State(fn(s) -> match run(s) { | (t, x) -> (t, f(x)) })
instance Applicator (State s) where
  pure x = State(fn(s) -> (s, x))
  apply fs xs = chain(fn(f) -> map(f, xs), fs)
instance Chainable (State s) where
  chain f (State(run)) = State(fn(s) -> match run(s) { | (t, x) -> match f(x) { | State(next) -> next(t) } })

flow run_state : (m : State s a) -> (s : s) -> (s, a) = match m { | State(run) -> run(s) }
flow tick : State Int Int = State(fn(n) -> (n + 1, n))

flow tree() = Branch(Branch(Leaf, 1, Leaf), 2, Branch(Leaf, 3, Leaf))
flow maps() = (elements(map(fn(x) -> x * 10, tree())), map(fn(x) -> x + 1, [1, 2]), map(fn(x) -> x + 1, Some(1)))
flow sum t = fold(fn(a, b) -> a + b, 0, t)
flow sums() = (sum(tree()), sum([1, 2, 3]), sum(Some(4)))
flow positive n = if n > 0 { Some(n) } else { None }
flow traverses() = (map(sum, traverse(positive, tree())), traverse(fn(x) -> positive(x - 1), [1, 2]),
  traverse(fn(x) -> [x, x + 1], [1, 10]))
flow pairs : Chainable m => (m : m a) -> m (a, a) = chain(fn(x) -> chain(fn(y) -> pure((x, y)), m), m)
flow monads() = (pairs([1, 2]), pairs(Some(1)), run_state(pairs(tick()), 5))
flow label : (t : Tree a) -> Tree (Int, a) = match run_state(traverse(fn(x) -> map(fn(n) -> (n, x), tick()), t), 0) {
  | (_, labelled) -> labelled
}
flow labels() = elements(label(tree()))
flow arrows() = match compose(Function(fn(x) -> x + 1), compose(identity, Function(fn(x) -> x * 2))) { | Function(f) -> f(10) }
"#;
    run(
        &[source],
        &[
            ("'Test':maps()", "{[10,20,30],[2,3],{some,2}}"),
            ("'Test':sums()", "{6,6,4}"),
            ("'Test':traverses()", "{{some,6},none,[[1,10],[1,11],[2,10],[2,11]]}"),
            ("'Test':monads()", "{[{1,1},{1,2},{2,1},{2,2}],{some,{1,1}},{7,{5,6}}}"),
            ("'Test':labels()", "[{0,1},{1,2},{2,3}]"),
            ("'Test':arrows()", "21"),
        ],
    );
}

#[test]
fn dictionaries_without_a_context_are_constants() {
    let source = r#"
module Test
import Shapes

trait Named a extends Solid a where
  name : a -> Text
instance Named Box where
  name b = show(volume(b))
trait Shown a extends Ord a where
  shown : a -> Text
instance Shown Int where
  shown n = show(n)
instance Shown a => Shown (Maybe a) where
  shown m = match m { | Some(x) -> shown(x) | None -> "" }
flow through : Named a => (x : a) -> (Text, Int) = (name(x), volume(x) + area(x))
flow less : Shown a => (x : a) -> (y : a) -> (Text, Bool) = (shown(x), x < y)
flow boxed() = through(Box(2, 3))
flow ordered() = (less(1, 2), less(Some(2), Some(1)))
"#;
    // One term, however often it is asked for; one with a context is made each time.
    let same = |call: &str| format!("erts_debug:same({call}, {call})");
    let once = ["'Shapes':'instance Shapes.Solid Shapes.Box'()", "'Test':'instance Test.Named Shapes.Box'()"];
    let once = [once[0], once[1], "'Test':'instance Test.Shown Int'()"].map(same);
    let native = same("'Topos.Prelude':'instance Topos.Prelude.Orderable native'()");
    let made = same("'Test':'instance Test.Shown Topos.Prelude.Maybe'('Test':'instance Test.Shown Int'())");
    run(
        &[SHAPES, source],
        &[
            (&once[0], "true"),
            (&once[1], "true"),
            (&once[2], "true"),
            (&native, "true"),
            (&made, "false"),
            ("'Test':boxed()", "{<<\"12\">>,16}"),
            ("'Test':ordered()", "{{<<\"1\">>,true},{<<\"2\">>,false}}"),
        ],
    );
}
