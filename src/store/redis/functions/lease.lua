-- Who is next: leases out of the line and from under lanes, and how much waits.
--
-- Leases take how many at most, the time, when the lease ends, the name of the node and that of the call; then what they are
-- about. They give for each: key, fence, value, open INTENT ('' for none). A repeated call is given what it took before.

local function taker_of(args)
  return {max = tonumber(args[3]), now = tonumber(args[4]), ends = args[5], node = args[6], call = args[7], picked = {}}
end

-- Picks a Delivery if it is still waiting; gives whether it is.
local function pick(tag, taker, key, place)
  local message, recipient = split(key)
  local found = redis.call('HMGET', tag .. 'm:' .. message, 'd' .. recipient, 'i' .. recipient)
  if not found[1] or is_final(found[1]) then
    return false
  end
  table.insert(taker.picked, {key = key, value = found[1], intent = found[2] or '', place = place})
  return true
end

-- Writes the leases of all who were picked.
local function take(tag, taker)
  local fences, answer = ticks(tag, 'fence'), {}
  for _, one in ipairs(taker.picked) do
    local fence, place = digits(tick(fences)), one.place
    local packed = cmsgpack.pack(fence, taker.node, taker.call, place.entry or '', place.class or '', place.due or '',
      place.lane or '', place.score or '', place.expires or '')
    redis.call('HSET', tag .. 'lease', one.key, packed)
    redis.call('ZADD', tag .. 'until', taker.ends, one.key)
    for _, part in ipairs({one.key, fence, one.value, one.intent}) do
      table.insert(answer, part)
    end
  end
  keep(fences)
  return answer
end

-- What this very call took when it was made first.
local function taken_before(tag, taker)
  local answer = {}
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', tag .. 'until', taker.ends, taker.ends)) do
    local lease = lease_of(tag, key)
    if lease and lease.call == taker.call then
      local message, recipient = split(key)
      local found = redis.call('HMGET', tag .. 'm:' .. message, 'd' .. recipient, 'i' .. recipient)
      for _, part in ipairs({key, lease.fence, found[1], found[2] or ''}) do
        table.insert(answer, part)
      end
    end
  end
  return answer
end

-- One kind of lease: lets lapse what has ended, then has `choose` pick.
local function leasing(name, choose)
  step(name, {'allow-oom'}, function(tag, args, again)
    local taker = taker_of(args)
    if again then
      local answer = taken_before(tag, taker)
      if #answer > 0 then
        return answer
      end
    end
    lapse(tag, taker.now)
    if taker.max < 1 then
      return {}
    end
    choose(tag, taker, args)
    return take(tag, taker)
  end)
end

-- Those whose lease has lapsed, before all others: they were due before.
local function pick_lapsed(tag, taker, class)
  local back = tag .. 'back:' .. class
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', back, '-inf', taker.now, 'LIMIT', 0, taker.max)) do
    local lease = lease_of(tag, key)
    redis.call('ZREM', back, key)
    if lease and pick(tag, taker, key, lease) then
      redis.call('XCLAIM', tag .. 'work:' .. class, GROUP, taker.node, 0, lease.entry, 'JUSTID')
    elseif lease then
      leave(tag, key, lease)
    end
  end
end

-- The next in the stream. An entry of one that was cancelled meanwhile is thrown away.
local function pick_ready(tag, taker, class)
  local stream = tag .. 'work:' .. class
  while #taker.picked < taker.max do
    local wanted = taker.max - #taker.picked
    local read = redis.call('XREADGROUP', 'GROUP', GROUP, taker.node, 'COUNT', wanted, 'STREAMS', stream, '>')
    local entries = read and read[1] and read[1][2] or {}
    for _, entry in ipairs(entries) do
      local id, fields = entry[1], entry[2]
      if not pick(tag, taker, fields[2], {entry = id, class = class, due = fields[4]}) then
        redis.call('XACK', stream, GROUP, id)
        redis.call('XDEL', stream, id)
      end
    end
    if #entries < wanted then
      break
    end
  end
end

-- About: a class.
leasing('lease', function(tag, taker, args)
  local class = CLASSES[tonumber(args[8]) + 1]
  pick_lapsed(tag, taker, class)
  move_due(tag, class, taker.now)
  pick_ready(tag, taker, class)
end)

-- Those of a list of keys and scores of one lane, or of all.
local function pick_parked(tag, taker, keys)
  for _, key in ipairs(keys) do
    local message, recipient = split(key)
    local value = redis.call('HGET', tag .. 'm:' .. message, 'd' .. recipient)
    local lane = value and lane_of(value) or ''
    local score = redis.call('ZSCORE', tag .. 'lane:' .. lane, key)
    local expires = redis.call('ZSCORE', tag .. 'ends', key)
    if value and score then
      step_from_lane(tag, key, lane)
      pick(tag, taker, key, {lane = lane, score = score, expires = expires, class = class_of(value)})
    end
  end
end

-- About: a lane, and from which score to which.
leasing('lease_parked', function(tag, taker, args)
  pick_parked(tag, taker, redis.call('ZRANGEBYSCORE', tag .. 'lane:' .. args[8], args[9], args[10], 'LIMIT', 0, taker.max))
end)

leasing('lease_expired', function(tag, taker)
  pick_parked(tag, taker, redis.call('ZRANGEBYSCORE', tag .. 'ends', '-inf', taker.now, 'LIMIT', 0, taker.max))
end)

-- Takes the time. Gives whether some leases that have ended are not back yet ('1'), leased, parked, the time of the oldest
-- waiting Message ('' for none), then pairs of counters.
step('depth', {'allow-oom'}, function(tag, args)
  local more = lapse(tag, tonumber(args[3]))
  local oldest = redis.call('ZRANGE', tag .. 'ages', 0, 0, 'WITHSCORES')
  local answer = {
    more and '1' or '0', digits(redis.call('ZCARD', tag .. 'until')), digits(redis.call('ZCARD', tag .. 'ends')),
    oldest[2] or ''
  }
  for _, part in ipairs(redis.call('HGETALL', tag .. 'count')) do
    table.insert(answer, part)
  end
  return answer
end)

-- Entries of the stream that are looked at in search of one that still waits.
local LOOK_MAX = 1000

-- Takes a class. Gives the earliest due time among those in line, '' when nobody is.
step('next_due', {'no-writes'}, function(tag, args)
  local class = CLASSES[tonumber(args[3]) + 1]
  local first
  for _, name in ipairs({'back:', 'due:'}) do
    local head = redis.call('ZRANGE', tag .. name .. class, 0, 0, 'WITHSCORES')
    if head[2] and (not first or tonumber(head[2]) < first) then
      first = tonumber(head[2])
    end
  end
  local stream, read = tag .. 'work:' .. class, '-'
  local group = redis.call('XINFO', 'GROUPS', stream)[1]
  for at = 1, #group, 2 do
    if group[at] == 'last-delivered-id' then
      read = '(' .. group[at + 1]
    end
  end
  for _, entry in ipairs(redis.call('XRANGE', stream, read, '+', 'COUNT', LOOK_MAX)) do
    local message, recipient = split(entry[2][2])
    local value = redis.call('HGET', tag .. 'm:' .. message, 'd' .. recipient)
    if value and not is_final(value) then
      local due = tonumber(entry[2][4])
      first = first and math.min(first, due) or due
      break
    end
  end
  return {first and digits(first) or ''}
end)

-- Takes how many at most. Gives lanes and how many are parked there, most first.
step('lanes', {'no-writes'}, function(tag, args)
  if args[3] == '0' then
    return {}
  end
  return redis.call('ZREVRANGE', tag .. 'lanes', 0, tonumber(args[3]) - 1, 'WITHSCORES')
end)

