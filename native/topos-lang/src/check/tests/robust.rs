//! Whatever the parser gives, the checker answers: trees with `Error` nodes, programs beyond the first cut, noise.

use proptest::prelude::*;

use super::{imports, LIB, PRELUDE};
use crate::check::{check_module, Options};

fn checks(source: &str) -> bool {
    let parse = crate::syntax::parse(source);
    let options =
        Options { file: "t.topos", default_name: "T", root_effects: Some(&["Topos.Lib.IO"]), ..Options::default() };
    check_module(&parse.module, &imports(), &options).is_ok()
}

#[test]
fn the_programs_of_the_guide_are_refused_with_messages() {
    let path = format!("{}/../../tests/golden/guide", env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "topos") {
            assert!(!checks(&std::fs::read_to_string(&path).unwrap()), "{}", path.display());
            seen += 1;
        }
    }
    assert_eq!(seen, 9);
}

/// Programs with everything in them that is compiled.
const SEEDS: &[&str] = &[
    LIB,
    PRELUDE,
    "import Topos.Lib as L\nconfig c : L.Config = { name = \"n\" }\nflow f(x : Int, y) = { let g = fn(a) -> a + x\n [1, 2] |> L.map(g) }\n",
    "import Topos.Lib\nflow f 0 = \"a\"\nflow f n when n > 1 = f\"{n}\"\nflow f _ = match Some(1) { | Some(x) | x as y -> show(x) | None -> \"\" }\n",
    "import Topos.Lib\nflow h : () -> Int / {Process | e} =\n  x <- with cell(1) { perform State.get() }\n  if x > 1 { return x } else { for y in [x] { log(y) } }\n  { r with a = x }.a\n",
    "trait T a where m : a -> a end\nhandler h(x) : Handler(IO) = { state s = 1\n print(t) => s := t }\nactor A : Int = { | 1 -> 2 }\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn programs_with_holes_and_repeats_are_checked(
        seed in 0..SEEDS.len(),
        cuts in prop::collection::vec((0.0f64..1.0, 0usize..12, any::<bool>()), 1..5),
    ) {
        let mut source = SEEDS[seed].to_owned();
        for (at, length, repeat) in cuts {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let mut from = (at * source.len() as f64) as usize;
            while !source.is_char_boundary(from) {
                from -= 1;
            }
            let mut to = (from + length).min(source.len());
            while !source.is_char_boundary(to) {
                to += 1;
            }
            let piece = source[from..to].to_owned();
            if repeat {
                source.insert_str(from, &piece);
            } else {
                source.replace_range(from..to, "");
            }
        }
        checks(&source);
    }
}
