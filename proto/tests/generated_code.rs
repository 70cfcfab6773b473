//! The generated code in `src/gen` is what the .proto files say. `RINGVAULT_BLESS=1` writes it anew; no protoc needed.

use std::{fs, path::Path};

#[test]
fn the_committed_code_is_generated_from_the_committed_protos() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let protos = ["common", "admin", "fleet"].map(|name| root.join(format!("ringvault/v1/{name}.proto")));
    let mut compiler = protox::Compiler::new([root]).expect("the proto room is readable");
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(&protos).unwrap_or_else(|error| panic!("{error:?}"));
    let descriptors = compiler.file_descriptor_set();

    let out = std::env::temp_dir().join(format!("ringvault-gen-{}", std::process::id()));
    fs::create_dir_all(&out).expect("the temporary directory is writable");
    tonic_prost_build::configure()
        .out_dir(&out)
        .build_client(true)
        .build_server(true)
        .bytes(".")
        .btree_map(".")
        .compile_fds(descriptors)
        .expect("the protos compile");
    let generated = fs::read(out.join("ringvault.v1.rs")).expect("the code was generated");
    let descriptor_set = compiler.encode_file_descriptor_set();
    fs::remove_dir_all(&out).expect("the temporary directory is ours");

    let code = root.join("src/gen/ringvault.v1.rs");
    let set = root.join("src/gen/ringvault.v1.bin");
    if std::env::var_os("RINGVAULT_BLESS").is_some() {
        fs::write(&code, &generated).expect("src/gen is writable");
        fs::write(&set, &descriptor_set).expect("src/gen is writable");
    }
    let advice = "run RINGVAULT_BLESS=1 cargo test -p ringvault-proto and commit src/gen";
    assert!(fs::read(&code).unwrap_or_default() == generated, "src/gen/ringvault.v1.rs is stale: {advice}");
    assert!(fs::read(&set).unwrap_or_default() == descriptor_set, "src/gen/ringvault.v1.bin is stale: {advice}");
}
