//! The standard library as it was when this program was built, for where its directory is not at hand.

macro_rules! modules {
    ($($name:literal),* $(,)?) => {
        /// Name and text of each module.
        pub(crate) const BUILT_IN: &[(&str, &str)] =
            &[$((concat!("Topos.", $name), include_str!(concat!("../../../topos_stdlib/Topos/", $name, ".topos"))),)*];
    };
}

modules![
    "Async",
    "Channel",
    "Duration",
    "IO",
    "List",
    "Log",
    "Map",
    "Maybe",
    "Partisan",
    "Prelude",
    "Process",
    "Promise",
    "Random",
    "Remote",
    "Result",
    "Routes",
    "Runner",
    "Set",
    "Test",
    "Text",
    "Time",
    "UUID",
    "VectorClock",
    "Virtual",
];

/// The program of `topos demo`.
pub(crate) const QUICK_START: &str = include_str!("../../../examples/quick_start.topos");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_is_built_in() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topos_stdlib/Topos");
        let mut names: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .map(|stem| format!("Topos.{stem}"))
            .collect();
        names.sort();
        let built_in: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        assert_eq!(built_in, names);
    }
}
