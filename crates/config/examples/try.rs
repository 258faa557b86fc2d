//! Loads a file and prints what is wrong with it.
fn main() {
    let f = std::env::args().nth(1).unwrap();
    match spooky_config::load(std::path::Path::new(&f)) {
        Ok(l) => {
            for w in &l.warnings {
                println!("{w}");
            }
            if std::env::args().nth(2).is_some() {
                println!("{:#?}", l.config);
            }
            println!("OK");
        }
        Err(p) => print!("{p}"),
    }
}
