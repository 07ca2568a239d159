//! Topos type descriptors and checked conversion of Erlang terms.
