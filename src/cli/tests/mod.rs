//! The program as a person or a script sees it, against an API on a real socket.

mod arguments;
mod broken;
mod changes;
mod check;
mod doctor;
mod explain;
mod lists;
mod screens;
mod test;
mod transport;
