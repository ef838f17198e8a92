//! How long a pause lasts: a number, a variable, or a draw from a distribution.

use offhook_base::Random;

use super::variables::VariableId;

/// A length of time in ms, or a number to be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// As `-d` says.
    Default,
    /// Always the same.
    Fixed(f64),
    /// What the variable holds.
    Variable(VariableId),
    /// Drawn.
    Drawn(Distribution),
}

/// A statistical distribution, with SIPp's names for its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the parameters are those of the distribution")]
pub enum Distribution {
    Uniform { min: f64, max: f64 },
    Normal { mean: f64, stdev: f64 },
    LogNormal { mean: f64, stdev: f64 },
    Exponential { mean: f64 },
    Weibull { lambda: f64, k: f64 },
    Pareto { k: f64, x_m: f64 },
    Gamma { k: f64, theta: f64 },
    NegativeBinomial { p: f64, n: f64 },
}

/// Draws and the 99th percentile are found among so many values where there is no formula at hand.
const SAMPLES: usize = 1000;

impl Length {
    /// The longest it is taken to be, ms: the 99th percentile of a distribution.
    pub fn longest_ms(&self, unset: u64) -> u64 {
        match self {
            Self::Default => unset,
            Self::Fixed(ms) => *ms as u64,
            Self::Variable(_) => 0,
            Self::Drawn(distribution) => distribution.percentile_99() as u64,
        }
    }

    /// As screens show it.
    pub fn label(&self, unset: u64) -> String {
        match self {
            Self::Default => format!("{unset}ms"),
            Self::Fixed(ms) => format!("{ms:.0}ms"),
            Self::Variable(_) => "$variable".into(),
            Self::Drawn(distribution) => distribution.label(),
        }
    }
}

impl Distribution {
    /// One value.
    pub fn draw(&self, random: &mut Random) -> f64 {
        match *self {
            Self::Uniform { min, max } => min + unit(random) * (max - min),
            Self::Normal { mean, stdev } => mean + stdev * normal(random),
            Self::LogNormal { mean, stdev } => (mean + stdev * normal(random)).exp(),
            Self::Exponential { mean } => -mean * open_unit(random).ln(),
            Self::Weibull { lambda, k } => lambda * (-open_unit(random).ln()).powf(1.0 / k),
            Self::Pareto { k, x_m } => x_m / open_unit(random).powf(1.0 / k),
            Self::Gamma { k, theta } => gamma(random, k) * theta,
            // A Poisson draw whose mean is a gamma draw.
            Self::NegativeBinomial { p, n } => {
                let mean = gamma(random, n) * (1.0 - p) / p;
                poisson(random, mean)
            }
        }
    }

    /// Ninety-nine of a hundred draws are below it.
    pub fn percentile_99(&self) -> f64 {
        let mut random = Random::from_number(99);
        let mut draws: Vec<f64> = (0..SAMPLES).map(|_| self.draw(&mut random)).collect();
        draws.sort_by(f64::total_cmp);
        match self {
            Self::Uniform { max, .. } => *max,
            _ => draws[SAMPLES * 99 / 100],
        }
    }

    fn label(&self) -> String {
        match self {
            Self::Uniform { min, max } => format!("{min:.0}/{max:.0}ms"),
            Self::Normal { mean, stdev } => format!("N({mean:.0},{stdev:.0})"),
            Self::LogNormal { mean, stdev } => format!("LN({mean:.2},{stdev:.2})"),
            Self::Exponential { mean } => format!("Exp({mean:.0})"),
            Self::Weibull { lambda, k } => format!("Wb({lambda:.2},{k:.2})"),
            Self::Pareto { k, x_m } => format!("P({k:.2},{x_m:.2})"),
            Self::Gamma { k, theta } => format!("G({k:.2},{theta:.2})"),
            Self::NegativeBinomial { p, n } => format!("NB({p:.2},{n:.2})"),
        }
    }
}

/// In 0..1.
fn unit(random: &mut Random) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// In 0..1 without 0: it has a logarithm.
fn open_unit(random: &mut Random) -> f64 {
    1.0 - unit(random)
}

/// Mean 0, standard deviation 1 (Box and Muller).
fn normal(random: &mut Random) -> f64 {
    (-2.0 * open_unit(random).ln()).sqrt() * (std::f64::consts::TAU * unit(random)).cos()
}

/// Shape `k`, scale 1 (Marsaglia and Tsang 2000).
fn gamma(random: &mut Random, k: f64) -> f64 {
    if k < 1.0 {
        return gamma(random, k + 1.0) * open_unit(random).powf(1.0 / k);
    }
    let d = k - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(random);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && open_unit(random).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// Means above this are drawn as the normal distribution they are close to.
const POISSON_EXACT_MAX: f64 = 500.0;

fn poisson(random: &mut Random, mean: f64) -> f64 {
    if mean > POISSON_EXACT_MAX {
        return (mean + mean.sqrt() * normal(random)).round().max(0.0);
    }
    let limit = (-mean).exp();
    let mut product = open_unit(random);
    let mut count = 0.0;
    while product > limit {
        product *= open_unit(random);
        count += 1.0;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_mean_that_the_distribution_has() {
        let cases = [
            (Distribution::Uniform { min: 2.0, max: 6.0 }, 4.0),
            (Distribution::Normal { mean: 60.0, stdev: 5.0 }, 60.0),
            (Distribution::LogNormal { mean: 1.0, stdev: 0.5 }, (1.0_f64 + 0.125).exp()),
            (Distribution::Exponential { mean: 900.0 }, 900.0),
            (Distribution::Weibull { lambda: 3.0, k: 4.0 }, 2.719),
            (Distribution::Pareto { k: 3.0, x_m: 2.0 }, 3.0),
            (Distribution::Gamma { k: 9.0, theta: 2.0 }, 18.0),
            (Distribution::NegativeBinomial { p: 0.1, n: 2.0 }, 18.0),
        ];
        let mut random = Random::from_number(7);
        for (distribution, mean) in cases {
            let count = 20_000;
            let sum: f64 = (0..count).map(|_| distribution.draw(&mut random)).sum();
            let found = sum / f64::from(count);
            assert!((found - mean).abs() < mean * 0.05, "{distribution:?}: {found} is not {mean}");
        }
    }
}
