-- Books what was spent in place of a lease, once. Answers 1 if it was found, 2 if it was not known
-- and is counted, 0 if it was settled before. ARGV: 4 lease id, 5 the epoch in which it was granted
-- ("-" if nobody knows), 6 "local" if it was granted while the state could not be reached, else
-- "-"; then for each limit its key and "WINDOW AT SPENT": the time of its reserve, or "-" if it was
-- drawn from a slice, which counts by itself.

local id, granted, locally = ARGV[4], ARGV[5], ARGV[6] == 'local'
sweep(16)

local told = head('S')
local lease = lease_of(id)

if lease and lease.d then
  told[4] = '0'
  return answer(told)
end

if lease then
  local actual = {}
  for i = 7, #ARGV, 2 do
    actual[ARGV[i]] = string.match(ARGV[i + 1], '(%S+)$')
  end
  redis.call('DEL', LEASE .. id)
  redis.call('ZREM', LEASES, id)
  for _, entry in ipairs(lease.o) do
    local spent = entry[2] == 'n' and '0' or actual[entry[5]] or '0'
    if lease.x then
      count(entry, spent, '0')
      count(entry, negative(entry[7]), '0')
    else
      count(entry, spent, negative(entry[6]))
    end
  end
  told[4] = '1'
  if not lease.t then
    return answer(told)
  end
end

if not lease and (granted == '-' or (granted == epoch and not locally)) then
  told[4] = '0'
  return answer(told)
end

-- A lease of another epoch, or of this process alone; or one of the books, which may be told of
-- again with another window. Where the window was seeded since, the books had it; elsewhere nobody
-- knows of it yet, and the books may say so once more.
local counted = {}
for _, entry in ipairs(lease and lease.o or {}) do
  counted[entry[1]] = true
end
lease = { d = 1, o = {} }
for i = 7, #ARGV, 2 do
  local kind, tag, a, b, at, spent =
    string.match(ARGV[i + 1], '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
  local w = at ~= '-' and locate(ARGV[i], kind, tag, a, b, tonumber(at))
  if w and kind ~= 'n' then
    local entry = { w.meter, w.kind, w.moment, w.part, w.key, '0', spent }
    lease.o[#lease.o + 1] = entry
    if not counted[w.meter] and (granted == epoch or not redis.call('HGET', w.meter, 'k')) then
      count(entry, spent, '0')
      if redis.call('EXISTS', w.meter) == 1 then
        redis.call('PEXPIRE', w.meter, math.max(needed(w), 1000))
      end
    end
  end
end
keep(id, lease, LONGEST * 1000)
told[4] = told[4] or '2'
return answer(told)
