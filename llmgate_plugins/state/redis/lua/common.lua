-- What every script begins with: the time, the epoch, and how leases count in meters.
--
-- KEYS[1]  the key of the epoch; every other key begins as it does, up to "epoch"
-- ARGV[1]  the time (tests only); '' for the server's own, the one clock of all processes
-- ARGV[2]  an id for a new epoch, should one begin
-- ARGV[3]  the run id of the server that this connection was made to
--
-- PREFIX EPOCH:z          leases by the time at which they expire
-- PREFIX EPOCH:l:ID       a lease: {o = {entry ...}}, x: expired, t: of the books, d: settled in a later epoch
-- PREFIX EPOCH:m:...      a meter: s spent, h held, k seeded; of a rolling window also
--                         sN and hN of its part N, and o, the number of the oldest
--
-- An entry of a lease: {meter, kind, moment, part, key, amount, estimate}, all text; moment is
-- the end of the window, or the number of the part of the reserve.
-- Amounts stay text: numbers of Lua are exact to 2^53 only, HINCRBY to 2^63.

local LONGEST = 86400
local PARTS = 60
local PREFIX = string.sub(KEYS[1], 1, -6)

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local function exact(number)
  return string.format('%.17g', number)
end

local epoch, since, run
do
  local raw = redis.call('GET', KEYS[1])
  if raw then
    epoch, since, run = string.match(raw, '^(%S+) (%S+) (%S+)$')
    since = tonumber(since)
  end
  if not since or (CONNECTING and run ~= ARGV[3]) then
    if epoch then
      redis.call('DEL', PREFIX .. epoch .. ':z')
    end
    epoch, since = ARGV[2], now
    redis.call('SET', KEYS[1], epoch .. ' ' .. exact(since) .. ' ' .. ARGV[3])
  end
end

local BASE = PREFIX .. epoch
local LEASES, LEASE, METER = BASE .. ':z', BASE .. ':l:', BASE .. ':m:'

local function answer(parts)
  return table.concat(parts, '\n')
end

local function head(kind)
  return { kind, epoch, exact(now) }
end

-- Arithmetic on text, exact to 2^63.

local function split(text)
  if #text < 10 then
    return 0, tonumber(text)
  end
  return tonumber(string.sub(text, 1, -10)), tonumber(string.sub(text, -9))
end

local function plus(a, b)
  if #a < 16 and #b < 16 then
    return string.format('%.0f', tonumber(a) + tonumber(b))
  end
  local high_a, low_a = split(a)
  local high_b, low_b = split(b)
  local high, low = high_a + high_b, low_a + low_b
  if low >= 1e9 then
    high, low = high + 1, low - 1e9
  end
  return string.format('%.0f%09.0f', high, low)
end

local function negative(text)
  if string.sub(text, 1, 1) == '-' then
    return string.sub(text, 2)
  end
  return text == '0' and '0' or '-' .. text
end

-- By how much this is above the limit: exact where it is small, its sign always.
local function above(limit, spent, held, amount)
  if #limit < 16 and #spent < 16 and #held < 16 and #amount < 16 then
    return tonumber(spent) + tonumber(held) + tonumber(amount) - tonumber(limit)
  end
  local high_l, low_l = split(limit)
  local high_s, low_s = split(spent)
  local high_h, low_h = split(held)
  local high_a, low_a = split(amount)
  return (high_s + high_h + high_a - high_l) * 1e9 + (low_s + low_h + low_a - low_l)
end

-- Meters.

-- A rolling meter: takes out what has left the window, part by part.
local function roll(meter, first)
  local oldest = tonumber(redis.call('HGET', meter, 'o') or first)
  if oldest >= first then
    return
  end
  if first - oldest > PARTS then
    local known = redis.call('HGET', meter, 'k')
    redis.call('DEL', meter)
    if known then
      redis.call('HSET', meter, 'k', known)
    end
    return
  end
  for number = oldest, first - 1 do
    local left = redis.call('HMGET', meter, 's' .. number, 'h' .. number)
    if left[1] or left[2] then
      redis.call('HINCRBY', meter, 's', negative(left[1] or '0'))
      redis.call('HINCRBY', meter, 'h', negative(left[2] or '0'))
      redis.call('HDEL', meter, 's' .. number, 'h' .. number)
    end
  end
  redis.call('HSET', meter, 'o', first)
end

-- The meter of a moment; nil if the moment is not in the bounds that the client made out.
local function locate(key, kind, tag, a, b, at)
  local w = { key = key, kind = kind, moment = '', part = '' }
  if kind == 'n' then
    w.meter, w.starts, w.ends = METER .. 'n:' .. key, at - LONGEST, nil
  elseif kind == 'f' then
    local seconds = tonumber(a)
    local index = math.floor(at / seconds)
    if (index + 1) * seconds <= at then
      index = index + 1
    end
    w.starts, w.ends = index * seconds, (index + 1) * seconds
    w.meter, w.moment = METER .. 'f' .. tag .. ':' .. exact(w.starts) .. ':' .. key, exact(w.ends)
  elseif kind == 'c' then
    w.starts, w.ends = tonumber(a), tonumber(b)
    if at < w.starts or at >= w.ends then
      return nil
    end
    w.meter, w.moment = METER .. 'c' .. tag .. ':' .. a .. ':' .. key, b
  else
    local part = tonumber(a)
    w.newest = math.floor(at / part)
    w.starts, w.ends = (w.newest - PARTS) * part, (w.newest + 1) * part
    w.meter, w.moment, w.part = METER .. 'r' .. tag .. ':' .. key, string.format('%.0f', w.newest), a
  end
  return w
end

-- What a meter says now.
local function read(w)
  if w.kind == 'r' then
    roll(w.meter, w.newest - PARTS)
  end
  local values = redis.call('HMGET', w.meter, 's', 'h', 'k')
  w.spent, w.held = values[1] or '0', values[2] or '0'
  w.fresh = not (values[1] or values[2] or values[3])
  w.known = values[3] or w.starts >= since
  return w
end

-- Milliseconds for which something that counts in this meter may be needed.
local function needed(w)
  local seconds = LONGEST + 3600
  if w.kind == 'r' then
    seconds = tonumber(w.part) * (PARTS + 2)
  elseif w.kind ~= 'n' then
    seconds = w.ends - now
  end
  return math.ceil((seconds + 60) * 1000)
end

-- Counts so much more where an entry of a lease counts, unless that is over.
local function count(entry, spent, held)
  local meter, kind, moment = entry[1], entry[2], tonumber(entry[3])
  if kind == 'n' then
    if held ~= '0' and redis.call('HINCRBY', meter, 'h', held) <= 0 then
      if not redis.call('HGET', meter, 'k') then
        redis.call('DEL', meter)
      end
    end
    return
  end
  if kind == 'r' then
    local first = math.floor(now / tonumber(entry[4])) - PARTS
    if moment < first then
      return
    end
    roll(meter, first)
    redis.call('HSETNX', meter, 'o', entry[3])
  elseif now >= moment then
    return
  end
  if spent ~= '0' then
    redis.call('HINCRBY', meter, 's', spent)
  end
  if held ~= '0' then
    redis.call('HINCRBY', meter, 'h', held)
  end
  if kind == 'r' then
    redis.call('HINCRBY', meter, 's' .. entry[3], spent)
    redis.call('HINCRBY', meter, 'h' .. entry[3], held)
  end
end

-- Leases.

local function lease_of(id)
  local raw = redis.call('GET', LEASE .. id)
  return raw and cmsgpack.unpack(raw)
end

-- Keeps a lease for as long as anything of it counts, its owner settling late included.
local function keep(id, lease, milliseconds)
  redis.call('SET', LEASE .. id, cmsgpack.pack(lease), 'PX', milliseconds)
end

local function expire(id, at)
  redis.call('ZADD', LEASES, exact(at), id)
  redis.call('PEXPIRE', LEASES, (LONGEST + 7200) * 1000)
end

-- Leases whose time is over count as spent, at their estimates. Some of them at a time, so
-- that no call waits long; every call makes one lease at the most, and sweeps many.
local function sweep(most)
  local ids = redis.call('ZRANGEBYSCORE', LEASES, '-inf', exact(now), 'LIMIT', 0, most)
  for _, id in ipairs(ids) do
    redis.call('ZREM', LEASES, id)
    local lease = lease_of(id)
    if lease and not lease.x and not lease.d then
      for _, entry in ipairs(lease.o) do
        count(entry, entry[7], negative(entry[6]))
      end
      lease.x = 1
      redis.call('SET', LEASE .. id, cmsgpack.pack(lease), 'KEEPTTL')
    end
  end
end
