//! Tests of the whole that need neither root nor a network: the real binary, the structure, the walks, the
//! generated pages. One binary, so that it links once.

mod architecture;
mod cli;
mod kind_page;
mod peers;
mod reference;
mod template;
mod walks;
