//! A bad network between a client and the server: a UDP proxy that loses, delays and so reorders datagrams.

use std::{
    collections::{BinaryHeap, HashMap, hash_map},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{net::UdpSocket, task::JoinSet};

/// What the network does to datagrams, each direction on its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// The share that is lost, 0 to 1.
    pub loss: f64,
    /// What every datagram waits.
    pub delay: Duration,
    /// What it waits beyond that, at random: those that wait less overtake.
    pub jitter: Duration,
    /// Bits a second that pass; what finds a queue of a fifth of a second is lost.
    pub rate: Option<u64>,
}

/// The proxy. Clients send to [`BadNetwork::address`]; the server sees one port for each of them.
pub struct BadNetwork {
    /// Where clients send to.
    pub address: SocketAddr,
    weather: Arc<Mutex<Weather>>,
    lost: Arc<AtomicU64>,
    carried: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl BadNetwork {
    /// A proxy before `server`, on its address; `seed` chooses what is lost.
    pub async fn before(server: SocketAddr, weather: Weather, seed: u64) -> Self {
        let socket = Arc::new(bind(server).await);
        let address = socket.local_addr().unwrap();
        let weather = Arc::new(Mutex::new(weather));
        let (lost, carried) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let way = |number: u64| Way {
            weather: weather.clone(),
            lost: lost.clone(),
            carried: carried.clone(),
            random: Arc::new(Mutex::new(StdRng::seed_from_u64(seed + number))),
            free_at: Arc::new(Mutex::new(tokio::time::Instant::now())),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(up(socket, server, way(0), way(1)));
        Self { address, weather, lost, carried, _tasks: tasks }
    }

    /// The weather changes.
    pub fn turn(&self, weather: Weather) {
        *self.weather.lock().unwrap() = weather;
    }

    /// Datagrams that were lost, and those that arrived.
    pub fn counted(&self) -> (u64, u64) {
        (self.lost.load(Relaxed), self.carried.load(Relaxed))
    }
}

/// A socket beside `server`, with room for bursts: what this network loses, it loses on purpose.
async fn bind(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((server.ip(), 0)).await.unwrap();
    // The system gives what it allows.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
    socket
}

/// One direction.
#[derive(Clone)]
struct Way {
    weather: Arc<Mutex<Weather>>,
    lost: Arc<AtomicU64>,
    carried: Arc<AtomicU64>,
    random: Arc<Mutex<StdRng>>,
    /// When the line has sent what it has.
    free_at: Arc<Mutex<tokio::time::Instant>>,
}

impl Way {
    /// When a datagram arrives; `None` if it does not.
    fn arrival(&self, length: usize) -> Option<tokio::time::Instant> {
        let weather = *self.weather.lock().unwrap();
        let (chance, share) = {
            let mut random = self.random.lock().unwrap();
            (random.random::<f64>(), random.random::<f64>())
        };
        let now = tokio::time::Instant::now();
        let mut at = now;
        if let Some(rate) = weather.rate {
            let mut free_at = self.free_at.lock().unwrap();
            at = (*free_at).max(now);
            if at - now > Duration::from_millis(200) {
                self.lost.fetch_add(1, Relaxed);
                return None;
            }
            at += Duration::from_secs_f64((length + 28) as f64 * 8.0 / rate as f64);
            *free_at = at;
        }
        if chance < weather.loss {
            self.lost.fetch_add(1, Relaxed);
            return None;
        }
        self.carried.fetch_add(1, Relaxed);
        Some(at + weather.delay + weather.jitter.mul_f64(share))
    }
}

/// A datagram on its way; the next to arrive is the greatest.
struct Flying {
    at: tokio::time::Instant,
    number: u64,
    from: Arc<UdpSocket>,
    to: SocketAddr,
    datagram: Vec<u8>,
}

impl Ord for Flying {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Flying {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Flying {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Flying {}

/// Those on their way in one direction, in the order they arrive.
#[derive(Default)]
struct Sky {
    flying: BinaryHeap<Flying>,
    taken_off: u64,
}

impl Sky {
    fn take_off(&mut self, way: &Way, from: &Arc<UdpSocket>, to: SocketAddr, datagram: &[u8]) {
        self.taken_off += 1;
        if let Some(at) = way.arrival(datagram.len()) {
            let (number, from, datagram) = (self.taken_off, from.clone(), datagram.to_vec());
            self.flying.push(Flying { at, number, from, to, datagram });
        }
    }

    /// Waits for the next one to arrive and delivers it.
    async fn land(&mut self) {
        let Some(next) = self.flying.peek() else { return std::future::pending().await };
        tokio::time::sleep_until(next.at).await;
        let next = self.flying.pop().unwrap();
        // A closed port is an error of the next datagram.
        let _ = next.from.send_to(&next.datagram, next.to).await;
    }
}

async fn up(socket: Arc<UdpSocket>, server: SocketAddr, up: Way, down: Way) {
    let mut clients = HashMap::<SocketAddr, Arc<UdpSocket>>::new();
    let (mut sky, mut tasks) = (Sky::default(), JoinSet::new());
    let mut buffer = vec![0; 65_536];
    loop {
        tokio::select! {
            () = sky.land() => {}
            received = socket.recv_from(&mut buffer) => {
                let Ok((length, client)) = received else { continue };
                if let hash_map::Entry::Vacant(entry) = clients.entry(client) {
                    let upstream = Arc::new(bind(server).await);
                    tasks.spawn(carry_down(upstream.clone(), socket.clone(), client, down.clone()));
                    entry.insert(upstream);
                }
                sky.take_off(&up, &clients[&client], server, &buffer[..length]);
            }
        }
    }
}

async fn carry_down(upstream: Arc<UdpSocket>, socket: Arc<UdpSocket>, client: SocketAddr, way: Way) {
    let mut sky = Sky::default();
    let mut buffer = vec![0; 65_536];
    loop {
        tokio::select! {
            () = sky.land() => {}
            received = upstream.recv(&mut buffer) => {
                let Ok(length) = received else { continue };
                sky.take_off(&way, &socket, client, &buffer[..length]);
            }
        }
    }
}
