//! Tests the cycles of small crates.

use super::*;
use crate::tidy::file::sample;

fn texts(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<File> = files.iter().map(|(path, text)| sample(&format!("crates/x/src/{path}"), text)).collect();
    check(&files).into_iter().map(|problem| problem.text).collect()
}

#[test]
fn two_files_that_import_each_other_are_a_cycle() {
    let (a, b) = ("use crate::b::B;\npub struct A(B);", "use super::a::A;\npub struct B(Box<A>);");
    let found = texts(&[("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", b)]);
    assert_eq!(found, ["modules form an import cycle: crate::a, crate::b"]);
    assert_eq!(texts(&[("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", "pub struct B;")]), [""; 0]);
}

#[test]
fn a_path_in_the_code_is_an_import_too() {
    let found = texts(&[("lib.rs", ""), ("a.rs", "fn f() { crate::b::g(); }"), ("b.rs", "fn g() { crate::a::f() }")]);
    assert_eq!(found.len(), 1);
    let in_macro = "fn g() { println!(\"{}\", crate::a::f()) }";
    assert_eq!(texts(&[("lib.rs", ""), ("a.rs", "fn f() { crate::b::g(); }"), ("b.rs", in_macro)]).len(), 1);
}

#[test]
fn a_parent_that_only_re_exports_is_no_part_of_a_cycle() {
    let parent = "mod one; mod two; pub use one::One; pub use two::Two;";
    let (one, two) = ("use super::Two;\npub struct One(Two);", "pub struct Two;");
    assert_eq!(texts(&[("m/mod.rs", parent), ("m/one.rs", one), ("m/two.rs", two)]), [""; 0]);
    // The parent uses its re-export, and the child uses an item of the parent.
    let parent = "mod one; pub use one::One; pub struct P; fn f(_: One) {}";
    assert_eq!(texts(&[("m/mod.rs", parent), ("m/one.rs", "use super::P;\npub struct One(P);")]).len(), 1);
}

#[test]
fn visibility_and_variables_are_no_imports() {
    let parent = "mod one; use one::One; fn f() -> One { One }";
    assert_eq!(texts(&[("m/mod.rs", parent), ("m/one.rs", "pub(super) struct One;")]), [""; 0]);
    let parent = "mod one; pub struct P; fn f(one: P) -> P { one }";
    assert_eq!(texts(&[("m/mod.rs", parent), ("m/one.rs", "use super::P;\npub struct One(P);")]), [""; 0]);
}

#[test]
fn methods_in_another_file_are_used_by_their_callers() {
    let parent = "mod end; pub struct P; impl P { pub fn start(&self) { self.end(); } }";
    let child = "use super::P;\nimpl P { pub fn end(&self) {} }";
    assert_eq!(texts(&[("m.rs", parent), ("m/end.rs", child)]).len(), 1);
    let silent = "mod end; pub struct P; impl P { pub fn start(&self) {} }";
    assert_eq!(texts(&[("m.rs", silent), ("m/end.rs", child)]), [""; 0]);
}

#[test]
fn tests_and_other_crates_do_not_count() {
    let a = "use std::fmt;\nfn f() {}\n#[cfg(test)] mod tests { use crate::b::g; }";
    let b = "use crate::a::f;\nuse other::a::f as h;\npub fn g() { f() }";
    assert_eq!(texts(&[("a.rs", a), ("b.rs", b), ("a/tests.rs", "use crate::b::g;")]), [""; 0]);
}
