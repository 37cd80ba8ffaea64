//! A sun, and planets around it.

use std::f64::consts::TAU;

const STEP: f64 = 0.005;
/// The sun's is one.
const MASS: f64 = 1e-4;
/// What comes nearer to the sun than this has fallen into it.
const SUN: f64 = 0.02;

#[derive(Clone, Copy)]
struct Body {
    mass: f64,
    at: [f64; 2],
    speed: [f64; 2],
}

/// The sun comes first.
pub(crate) struct System(Vec<Body>);

impl System {
    /// `push` is how fast they are: with 1 they go in circles.
    pub(crate) fn new(planets: u32, push: f64) -> Self {
        let planet = |number| {
            let (radius, angle) = (0.5 + 0.25 * f64::from(number), TAU * 0.38 * f64::from(number));
            let (sin, cos) = angle.sin_cos();
            let speed = push / radius.sqrt();
            Body {
                mass: MASS,
                at: [radius * cos, radius * sin],
                speed: [-speed * sin, speed * cos],
            }
        };
        let sun = Body { mass: 1.0, at: [0.0; 2], speed: [0.0; 2] };
        Self(std::iter::once(sun).chain((0..planets).map(planet)).collect())
    }

    pub(crate) fn places(&self) -> Vec<[f64; 2]> {
        self.0.iter().map(|body| body.at).collect()
    }

    pub(crate) fn energy(&self) -> f64 {
        let motion = |body: &Body| body.mass * dot(body.speed, body.speed) / 2.0;
        let pairs = (0..self.0.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
        let potential = pairs.map(|(a, b)| {
            let (a, b) = (self.0[a], self.0[b]);
            a.mass * b.mass / length(minus(a.at, b.at))
        });
        self.0.iter().map(motion).sum::<f64>() - potential.sum::<f64>()
    }

    /// The leapfrog method: its errors do not add up.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        self.pull(STEP / 2.0)?;
        for body in &mut self.0 {
            body.at = plus(body.at, body.speed, STEP);
        }
        self.pull(STEP / 2.0)
    }

    fn pull(&mut self, time: f64) -> Result<(), String> {
        for a in 0..self.0.len() {
            for b in 0..a {
                let way = minus(self.0[b].at, self.0[a].at);
                let distance = length(way);
                if b == 0 && distance < SUN {
                    return Err(format!("planet {a} has fallen into the sun"));
                }
                let force = time / distance.powi(3);
                self.0[a].speed = plus(self.0[a].speed, way, force * self.0[b].mass);
                self.0[b].speed = plus(self.0[b].speed, way, -force * self.0[a].mass);
            }
        }
        Ok(())
    }
}

fn plus(a: [f64; 2], b: [f64; 2], times: f64) -> [f64; 2] {
    [a[0] + b[0] * times, a[1] + b[1] * times]
}

fn minus(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    plus(a, b, -1.0)
}

fn dot(a: [f64; 2], b: [f64; 2]) -> f64 {
    a[0] * b[0] + a[1] * b[1]
}

fn length(a: [f64; 2]) -> f64 {
    dot(a, a).sqrt()
}
