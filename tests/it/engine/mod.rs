//! The whole engine: started through the composition root, driven by HTTP, judged by what simulated providers hold.

mod bed;

mod drain;
mod journey;
mod lanes;
mod store_faults;
mod waits;
