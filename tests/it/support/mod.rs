//! What the tests are made of: the server, cameras, clients, samples. Nothing here asserts behaviour of the product.

pub mod camera;
pub mod clients;
pub mod process;
pub mod samples;
pub mod scripted_camera;
pub mod server;
