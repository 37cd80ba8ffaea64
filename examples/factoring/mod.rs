//! Taking numbers apart.

/// The prime factors of `n`, the smallest first.
pub(crate) fn factors(n: u64) -> Vec<u64> {
    if n < 2 {
        return Vec::new();
    }
    let Some(divisor) = divisor(n) else { return vec![n] };
    let mut found = [factors(divisor), factors(n / divisor)].concat();
    found.sort_unstable();
    found
}

/// A divisor of `n` other than 1 and `n`; `None` if `n` is prime.
fn divisor(n: u64) -> Option<u64> {
    if let Some(small) = SMALL_PRIMES.into_iter().find(|prime| n.is_multiple_of(*prime)) {
        return (n != small).then_some(small);
    }
    if is_prime(n) { None } else { (1..).find_map(|c| pollard_rho(n, c)) }
}

const SMALL_PRIMES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];

/// The test of Miller and Rabin for numbers without small divisors. These bases leave no doubt
/// below 2^64.
fn is_prime(n: u64) -> bool {
    let twos = (n - 1).trailing_zeros();
    SMALL_PRIMES.into_iter().all(|base| {
        let mut x = pow_mod(base, (n - 1) >> twos, n);
        x == 1
            || (0..twos).any(|_| {
                let before = x;
                x = mul_mod(x, x, n);
                before == n - 1
            })
    })
}

/// Pollard's rho: the sequence of x² + c modulo an unknown divisor must soon run in a circle.
fn pollard_rho(n: u64, c: u64) -> Option<u64> {
    let step = |x| modulo(u128::from(x) * u128::from(x) + u128::from(c), n);
    let (mut slow, mut fast) = (2, 2);
    loop {
        slow = step(slow);
        fast = step(step(fast));
        match gcd(n, slow.abs_diff(fast)) {
            1 => {}
            divisor => return (divisor != n).then_some(divisor),
        }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn pow_mod(base: u64, exponent: u64, n: u64) -> u64 {
    if exponent == 0 {
        return 1;
    }
    let root = pow_mod(base, exponent / 2, n);
    let square = mul_mod(root, root, n);
    if exponent.is_multiple_of(2) { square } else { mul_mod(square, base, n) }
}

fn mul_mod(a: u64, b: u64, n: u64) -> u64 {
    modulo(u128::from(a) * u128::from(b), n)
}

#[expect(clippy::cast_possible_truncation)] // a remainder is less than `n`
fn modulo(x: u128, n: u64) -> u64 {
    (x % u128::from(n)) as u64
}
