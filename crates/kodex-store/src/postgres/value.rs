//! Values on the way out of the server, which sends them in binary.
//!
//! | Postgres | value |
//! |---|---|
//! | `boolean` | truth value |
//! | `smallint`, `integer`, `bigint`, `oid` | integer |
//! | `real`, `double precision` | float |
//! | `numeric` | decimal with every digit; a float where it is not finite |
//! | `text`, `varchar`, `char`, `name`, `xml`, enums | text |
//! | `bytea` | bytes |
//! | `json`, `jsonb` | JSON document |
//! | `timestamptz` | text in RFC 3339, UTC |
//! | `timestamp`, `date`, `time` | the same form, without an offset |
//! | `interval` | ISO 8601, such as `P1Y2M3DT4H` |
//! | `uuid`, `inet`, `cidr`, `macaddr`, `bit` | text |
//! | arrays of these | array |
//!
//! Every other type is asked for as text by the statement itself, see `answer`.

use std::fmt::Write as _;

use postgres_protocol::types as wire;
use tokio_postgres::types::{FromSql, Kind, Type};

use super::time;
use crate::Value;

type Fault = Box<dyn std::error::Error + Sync + Send>;

/// A column's bytes as they came.
pub(super) struct Raw<'a>(pub(super) Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Fault> {
        Ok(Self(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Fault> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The name of a type as people write it.
pub(super) fn name(kind: &Type) -> String {
    if let Kind::Array(inner) = kind.kind() {
        return format!("{}[]", name(inner));
    }
    match *kind {
        Type::BOOL => "boolean",
        Type::INT2 => "smallint",
        Type::INT4 => "integer",
        Type::INT8 => "bigint",
        Type::FLOAT4 => "real",
        Type::FLOAT8 => "double precision",
        Type::BPCHAR => "char",
        _ => kind.name(),
    }
    .to_owned()
}

/// Whether [`read`] knows the type.
pub(super) fn is_known(kind: &Type) -> bool {
    match kind.kind() {
        Kind::Array(inner) | Kind::Domain(inner) => is_known(inner),
        Kind::Enum(_) => true,
        Kind::Simple | Kind::Pseudo => matches!(
            *kind,
            Type::BOOL
                | Type::INT2
                | Type::INT4
                | Type::INT8
                | Type::OID
                | Type::FLOAT4
                | Type::FLOAT8
                | Type::NUMERIC
                | Type::TEXT
                | Type::VARCHAR
                | Type::BPCHAR
                | Type::NAME
                | Type::CHAR
                | Type::XML
                | Type::UNKNOWN
                | Type::CSTRING
                | Type::BYTEA
                | Type::JSON
                | Type::JSONB
                | Type::TIMESTAMPTZ
                | Type::TIMESTAMP
                | Type::DATE
                | Type::TIME
                | Type::TIMETZ
                | Type::INTERVAL
                | Type::UUID
                | Type::INET
                | Type::CIDR
                | Type::MACADDR
                | Type::MACADDR8
                | Type::BIT
                | Type::VARBIT
                | Type::VOID
        ),
        _ => false,
    }
}

/// One value of a row.
pub(super) fn read(kind: &Type, raw: Option<&[u8]>) -> Result<Value, Fault> {
    let Some(raw) = raw else {
        return Ok(Value::Null);
    };
    match kind.kind() {
        Kind::Array(inner) => return array(inner, raw),
        Kind::Domain(inner) => return read(inner, Some(raw)),
        _ => {}
    }
    Ok(match *kind {
        Type::BOOL => Value::Bool(wire::bool_from_sql(raw)?),
        Type::INT2 => Value::Integer(wire::int2_from_sql(raw)?.into()),
        Type::INT4 => Value::Integer(wire::int4_from_sql(raw)?.into()),
        Type::INT8 => Value::Integer(wire::int8_from_sql(raw)?),
        Type::OID => Value::Integer(wire::oid_from_sql(raw)?.into()),
        Type::FLOAT4 => Value::Float(shortest(wire::float4_from_sql(raw)?)),
        Type::FLOAT8 => Value::Float(wire::float8_from_sql(raw)?),
        Type::NUMERIC => numeric(raw)?,
        Type::BYTEA => Value::Bytes(raw.to_vec()),
        Type::JSON => json(raw)?,
        // A byte that counts versions stands before the text.
        Type::JSONB => json(raw.get(1..).ok_or("an empty jsonb")?)?,
        Type::TIMESTAMPTZ => Value::Text(time::moment(wire::timestamp_from_sql(raw)?, true)),
        Type::TIMESTAMP => Value::Text(time::moment(wire::timestamp_from_sql(raw)?, false)),
        Type::DATE => Value::Text(time::date(wire::date_from_sql(raw)?)),
        Type::TIME => Value::Text(time::clock(wire::time_from_sql(raw)?)),
        Type::TIMETZ => {
            let mut input = Input(raw);
            let clock = time::clock(input.i64()?);
            Value::Text(clock + &time::offset(input.i32()?))
        }
        Type::INTERVAL => {
            let mut input = Input(raw);
            let (micros, days, months) = (input.i64()?, input.i32()?, input.i32()?);
            Value::Text(time::interval(months, days, micros))
        }
        Type::UUID => Value::Text(uuid(wire::uuid_from_sql(raw)?)),
        Type::INET | Type::CIDR => Value::Text(network(raw, *kind == Type::CIDR)?),
        Type::MACADDR | Type::MACADDR8 => Value::Text(hex(raw, ":")),
        Type::BIT | Type::VARBIT => Value::Text(bits(raw)?),
        Type::VOID => Value::Null,
        _ => Value::Text(std::str::from_utf8(raw)?.to_owned()),
    })
}

/// The double with the fewest digits that is the same `real`: 0.1, not 0.10000000149011612.
fn shortest(float: f32) -> f64 {
    float.to_string().parse().unwrap_or_else(|_| float.into())
}

fn json(raw: &[u8]) -> Result<Value, Fault> {
    let text = std::str::from_utf8(raw)?;
    // The server allows deeper documents than this reader does.
    Ok(serde_json::from_str(text).map_or_else(|_| Value::Text(text.to_owned()), Value::Json))
}

fn uuid(bytes: [u8; 16]) -> String {
    let digits = hex(&bytes, "");
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    parts.join("-")
}

fn hex(bytes: &[u8], between: &str) -> String {
    let mut out = String::with_capacity(bytes.len() * 3);
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 {
            out.push_str(between);
        }
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn network(raw: &[u8], is_cidr: bool) -> Result<String, Fault> {
    let inet = wire::inet_from_sql(raw)?;
    let whole = if inet.addr().is_ipv4() { 32 } else { 128 };
    Ok(if inet.netmask() == whole && !is_cidr {
        inet.addr().to_string()
    } else {
        format!("{}/{}", inet.addr(), inet.netmask())
    })
}

fn bits(raw: &[u8]) -> Result<String, Fault> {
    let bits = wire::varbit_from_sql(raw)?;
    let bit = |at: usize| {
        let byte = bits.bytes().get(at / 8).copied().unwrap_or(0);
        if byte & (0x80 >> (at % 8)) == 0 {
            '0'
        } else {
            '1'
        }
    };
    Ok((0..bits.len()).map(bit).collect())
}

/// Groups of four digits, the weight of the first one, a sign, and how many digits stand behind the point.
fn numeric(raw: &[u8]) -> Result<Value, Fault> {
    let mut input = Input(raw);
    let (n_groups, weight) = (input.i16()?, i32::from(input.i16()?));
    let (sign, scale) = (input.i16()?.cast_unsigned(), usize::try_from(input.i16()?)?);
    match sign {
        0 | 0x4000 => {}
        0xd000 => return Ok(Value::Float(f64::INFINITY)),
        0xf000 => return Ok(Value::Float(f64::NEG_INFINITY)),
        _ => return Ok(Value::Float(f64::NAN)),
    }
    let mut groups = Vec::with_capacity(usize::try_from(n_groups)?);
    for _ in 0..n_groups {
        groups.push(input.i16()?);
    }
    let group = |at: i32| {
        let at = usize::try_from(at).ok();
        at.and_then(|at| groups.get(at)).copied().unwrap_or(0)
    };
    let mut out = String::from(if sign == 0 { "" } else { "-" });
    if weight < 0 {
        out.push('0');
    }
    for at in 0..=weight {
        let _ = if at == 0 {
            write!(out, "{}", group(at))
        } else {
            write!(out, "{:04}", group(at))
        };
    }
    if scale > 0 {
        out.push('.');
        let whole = out.len();
        let mut at = weight + 1;
        while out.len() < whole + scale {
            let _ = write!(out, "{:04}", group(at));
            at += 1;
        }
        out.truncate(whole + scale);
    }
    Ok(Value::Numeric(out))
}

fn array(inner: &Type, raw: &[u8]) -> Result<Value, Fault> {
    let mut input = Input(raw);
    let (n_dimensions, _flags, _oid) = (input.i32()?, input.i32()?, input.i32()?);
    let mut sizes = Vec::new();
    for _ in 0..n_dimensions {
        sizes.push(usize::try_from(input.i32()?)?);
        let _from = input.i32()?;
    }
    if sizes.is_empty() {
        return Ok(Value::Array(Vec::new()));
    }
    items(inner, &sizes, &mut input)
}

fn items(inner: &Type, sizes: &[usize], input: &mut Input<'_>) -> Result<Value, Fault> {
    let Some((size, below)) = sizes.split_first() else {
        let raw = match input.i32()? {
            -1 => None,
            len => Some(input.take(usize::try_from(len)?)?),
        };
        return read(inner, raw);
    };
    let items: Result<Vec<_>, _> = (0..*size).map(|_| items(inner, below, input)).collect();
    Ok(Value::Array(items?))
}

/// Bytes that are read from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self
            .0
            .split_at_checked(len)
            .ok_or("a value that ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        Ok(self.take(N)?.try_into()?)
    }

    fn i16(&mut self) -> Result<i16, Fault> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, Fault> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Fault> {
        self.array().map(i64::from_be_bytes)
    }
}
