//! x
fn main() {
    let f = std::env::args().nth(1).unwrap();
    match f.as_str() {
        "schema" => return print!("{}", spooky_config::schema()),
        "defaults" => return print!("{}", spooky_config::defaults()),
        _ => {}
    }
    match spooky_config::load(std::path::Path::new(&f)) {
        Ok(l) => {
            for w in &l.warnings {
                println!("{w}");
            }
            if std::env::args().nth(2).is_some() {
                print!("{}", l.config.to_yaml());
            }
            println!("OK");
        }
        Err(p) => print!("{}{}\n{}", p.terminal(true), p.json(), p.verdict()),
    }
}
