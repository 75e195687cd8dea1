-- Holds all of these or none. ARGV: 4 lease id, 5 seconds it lasts; then for each reservation
-- its key and "WINDOW AMOUNT LIMIT ESTIMATE FLAGS SLICE WANTED": flags e enforced, s ask for a
-- seed, - none; an id for this process' slice of the limit, and how much to set aside in it now.

local MOST = '9223372036000000000' -- what a counter holds, less what comparing large numbers is off by
local id, ttl = ARGV[4], tonumber(ARGV[5])
sweep(16)

local lease = lease_of(id)
local again = lease and not lease.x and not lease.d
local there = {} -- meters in which it is held already; one of the books may lack some
for _, entry in ipairs(again and lease.o or {}) do
  there[entry[1]] = true
end
local asked, meters, unseeded, missing = {}, {}, nil, false

-- The moment at which so much will have left a rolling window; another one ends as a whole.
local function enough_at(w, over)
  if w.kind == 'n' then
    return ''
  end
  local at = w.ends
  if w.kind == 'r' then
    local flat, parts = redis.call('HGETALL', w.meter), {}
    for i = 1, #flat, 2 do
      local number = string.match(flat[i], '^[sh](%d+)$')
      if number then
        number = tonumber(number)
        parts[number] = (parts[number] or 0) + tonumber(flat[i + 1])
      end
    end
    for number = w.newest - PARTS, w.newest do
      if over <= 0 then
        break
      end
      if parts[number] then
        over = over - parts[number]
        at = (number + PARTS + 1) * tonumber(w.part)
      end
    end
  end
  return exact(at)
end

local function hold(w, amount, estimate)
  if w.fresh or w.kind ~= 'f' and w.kind ~= 'c' then
    redis.call('HINCRBY', w.meter, 'h', amount)
    redis.call('PEXPIRE', w.meter, needed(w))
    w.fresh = false
  else
    redis.call('HINCRBY', w.meter, 'h', amount)
  end
  if w.kind == 'r' then
    redis.call('HINCRBY', w.meter, 'h' .. w.moment, amount)
    redis.call('HSETNX', w.meter, 'o', w.moment)
  end
  w.held = plus(w.held, amount)
  return { w.meter, w.kind, w.moment, w.part, w.key, amount, estimate }
end

for i = 6, #ARGV, 2 do
  local kind, tag, a, b, amount, limit, estimate, flags, slice, wanted =
    string.match(ARGV[i + 1], '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
  local w = locate(ARGV[i], kind, tag, a, b, now)
  if not w then
    return answer(head('T'))
  end
  if meters[w.meter] then
    w = meters[w.meter]
  else
    meters[w.meter] = read(w)
    w.own = '0'
  end
  asked[#asked + 1] = {
    w = w, amount = amount, limit = limit, estimate = estimate, slice = slice, wanted = wanted, state = '-',
    enforced = string.find(flags, 'e', 1, true), seed = string.find(flags, 's', 1, true),
  }
end

for index, one in ipairs(asked) do
  local w = one.w
  if there[w.meter] then
    w.own = nil
  elseif one.seed and not w.known then
    unseeded = unseeded or head('U')
    if #unseeded == 3 then
      unseeded[4] = exact(since)
    end
    unseeded[#unseeded + 1] = index - 1
    unseeded[#unseeded + 1] = exact(w.starts)
    unseeded[#unseeded + 1] = w.ends and exact(w.ends) or 'inf'
  else -- one that is not enforced refuses what its counter could not hold: half of it would be held
    local over = above(one.enforced and one.limit or MOST, w.spent, plus(w.held, w.own), one.amount)
    if over > 0 and not unseeded then
      local told = head('R')
      told[4], told[5], told[6] = index - 1, w.spent, w.held
      told[7] = enough_at(w, above(one.limit, w.spent, w.held, one.amount))
      return answer(told)
    end
  end
  if w.own then
    w.own = plus(w.own, one.amount)
    w.guess = plus(w.guess or '0', one.estimate)
    missing = true
  end
end
if unseeded then
  return answer(unseeded)
end
if missing or not again then
  lease = again and lease or { o = {} }
  local longest = math.ceil((ttl + LONGEST + 7200) * 1000)
  for _, one in ipairs(asked) do
    local w = one.w
    if w.own then
      lease.o[#lease.o + 1] = hold(w, w.own, w.guess)
      longest = math.max(longest, needed(w))
      w.own = nil
    end
  end
  keep(id, lease, longest)
  if not again then
    expire(id, now + ttl)
  end
end

local told = head('G')
told[4] = again and redis.call('ZSCORE', LEASES, id) or exact(now + ttl)
for _, one in ipairs(asked) do
  local w = one.w
  if one.wanted ~= '0' then
    local slice = lease_of(one.slice)
    local held = slice and not slice.x and not slice.d and slice.o[1][1] == w.meter and slice.o[1][6]
    if held then
      if held == one.wanted then
        expire(one.slice, now + 60)
        one.state = 'h'
      end
    elseif not slice and above(one.limit, w.spent, w.held, one.wanted) <= 0 then
      keep(one.slice, { o = { hold(w, one.wanted, one.wanted) } }, math.max(needed(w), (LONGEST + 7200) * 1000))
      expire(one.slice, now + 60)
      one.state = 'h'
    end
  end
end
for _, one in ipairs(asked) do
  local w = one.w
  local n = #told
  local over = above(one.limit, w.spent, w.held, '0')
  told[n + 1], told[n + 2], told[n + 3] = w.spent, w.held, w.ends and exact(w.ends) or ''
  told[n + 4] = (not one.enforced and over > 0) and enough_at(w, over) or ''
  told[n + 5] = one.state
end
return answer(told)
