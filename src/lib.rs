pub mod envelope; pub mod wire; pub mod retry; pub mod names; pub mod era; pub mod paths; pub mod config; pub mod lines; pub mod ipc; pub mod upstream;
