//! Every command line that the README and deploy/ show is one that this binary takes, and every settings file one that it
//! reads.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Cli, usage};
use crate::settings::Process;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut files = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// A file's text; nothing for what is no text.
fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The words of a shell line, as far as these lines need it: quotes, and a comment behind it.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote, mut any) = (String::new(), None, false);
    for c in line.chars() {
        match (quote, c) {
            (Some(mark), c) if c == mark => quote = None,
            (None, '\'' | '"') => (quote, any) = (Some(c), true),
            (None, c) if c.is_whitespace() => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            (None, '#') if !any => break,
            (_, c) => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    words
}

/// The commands of a file: lines that begin with the binary's name (in a comment, too, or as a unit's `ExecStart`), and in
/// YAML what a container runs.
fn commands(path: &Path, text: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut fenced = false;
    let mut exported: Vec<String> = Vec::new();
    let markdown = path.extension().is_some_and(|extension| extension == "md");
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with("```") {
            fenced = !fenced;
            exported.clear();
        }
        let shown = line.trim_start_matches(['#', '$', ' ']).trim_start_matches("ExecStart=/usr/local/bin/");
        if let Some(address) = shown.strip_prefix("export RINGVAULT_COORDINATOR=") {
            exported = vec!["--coordinator".to_owned(), address.to_owned()];
        }
        if shown.starts_with("ringvault ") && (fenced || !markdown) {
            // A unit's instance is what stands behind the @.
            let mut command = words(&shown.replace("%i", "shop"));
            command.extend(exported.clone());
            commands.push(command);
        }
        let list = ["args: ", "command: ", "test: "].into_iter().find_map(|key| line.strip_prefix(key));
        if let Some(Ok(list)) = list.map(serde_json::from_str::<Vec<String>>) {
            match list.first().map(String::as_str) {
                Some("CMD") if list.get(1).is_some_and(|word| word == "ringvault") => commands.push(list[1..].to_vec()),
                Some("CMD") | None => {}
                Some(_) => commands.push([vec!["ringvault".to_owned()], list].concat()),
            }
        }
    }
    commands
}

/// Settings in a YAML block: `NAME.toml: |` and the lines below it that stand further in.
fn settings_within(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = line.trim().strip_suffix(".toml: |") else { continue };
        let within = |below: &&&str| below.trim().is_empty() || indent(below) > indent(line);
        let block: Vec<&str> = lines[at + 1..].iter().take_while(within).map(|line| line.trim()).collect();
        found.push((name.to_owned(), block.join("\n")));
    }
    found
}

#[test]
fn every_command_that_is_shown_is_one_that_is_taken() {
    let mut files = files_below(&root().join("deploy"));
    files.push(root().join("README.md"));
    let mut seen = 0;
    for file in files {
        let Some(text) = text(&file) else { continue };
        for command in commands(&file, &text) {
            // `--help` is an error of clap's that goes to standard output.
            if let Err(error) = Cli::read(&command)
                && error.use_stderr()
            {
                panic!("{}: {}: {error}", file.display(), command.join(" "));
            }
            seen += 1;
        }
    }
    assert!(seen >= 30, "only {seen} commands were found: is their form another now?");
}

#[test]
fn every_settings_file_that_is_shown_is_one_that_is_read() {
    let scratch = tempfile::tempdir().expect("a directory");
    let read = |name: &str, file: &Path| {
        let command = if name.starts_with("coordinator") { "coordinator" } else { "worker" };
        let path = file.to_str().ok_or_else(|| anyhow::anyhow!("no UTF-8"))?;
        let process = Process::read(&Cli::read(["ringvault", command, "--config", path])?)?;
        process.map(drop).ok_or_else(|| usage("no process").into())
    };
    let mut seen = Vec::new();
    for file in files_below(&root().join("deploy")) {
        let Some(text) = text(&file) else { continue };
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.ends_with(".toml") {
            read(&name, &file).unwrap_or_else(|e: anyhow::Error| panic!("{}: {e:#}", file.display()));
            seen.push(name);
        }
        for (name, toml) in settings_within(&text) {
            let path = scratch.path().join(&name);
            fs::write(&path, toml).expect("written");
            read(&name, &path).unwrap_or_else(|e: anyhow::Error| panic!("{} in {}: {e:#}", name, file.display()));
            seen.push(name);
        }
    }
    assert!(seen.len() >= 6, "{seen:?}");
}

#[test]
fn shell_words_are_split_as_a_shell_does() {
    assert_eq!(words("ringvault list /bk   # comment"), ["ringvault", "list", "/bk"]);
    assert_eq!(words("a 'b c' \"d\"e '' #x"), ["a", "b c", "de", ""]);
    assert_eq!(words("worker#1 s3://b/p#x"), ["worker#1", "s3://b/p#x"]);
}
