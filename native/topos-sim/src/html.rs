//! x
/// x
pub fn html() {}
/// x
pub fn graph_svg() {}
