-- Who stands where: in line (stream and sorted sets), under a lane, or out under a lease.
--
-- A leased Delivery keeps its place: its entry of the stream stays pending, its lane stays in its record. When the time of the
-- lease has passed it is shown again in that place; until somebody takes it there its holder may still settle.

-- The lease of a Delivery, if it has one.
local function lease_of(tag, key)
  local packed = redis.call('HGET', tag .. 'lease', key)
  if not packed then
    return nil
  end
  local fence, node, call, entry, class, due, lane, score, expires = cmsgpack.unpack(packed)
  return {
    fence = fence, node = node, call = call, entry = entry, class = class, due = due, lane = lane, score = score,
    expires = expires
  }
end

-- The lease that a fence names, if nobody took it away.
local function held(tag, key, fence)
  local lease = lease_of(tag, key)
  if lease and lease.fence == fence then
    return lease
  end
  return nil
end

local function step_under_lane(tag, key, lane, score, expires)
  if redis.call('ZADD', tag .. 'lane:' .. lane, score, key) == 1 then
    redis.call('ZINCRBY', tag .. 'lanes', 1, lane)
  end
  redis.call('ZADD', tag .. 'ends', expires, key)
end

local function step_from_lane(tag, key, lane)
  redis.call('ZREM', tag .. 'ends', key)
  if redis.call('ZREM', tag .. 'lane:' .. lane, key) == 1 then
    if tonumber(redis.call('ZINCRBY', tag .. 'lanes', -1, lane)) <= 0 then
      redis.call('ZREM', tag .. 'lanes', lane)
    end
  end
end

-- Shows those whose lease has ended by `now` in their places again; gives whether there may be more.
local function lapse(tag, now)
  local ended = redis.call('ZRANGEBYSCORE', tag .. 'until', '-inf', now, 'LIMIT', 0, LAPSE_MAX)
  for _, key in ipairs(ended) do
    redis.call('ZREM', tag .. 'until', key)
    local lease = lease_of(tag, key)
    if lease and lease.lane ~= '' then
      step_under_lane(tag, key, lease.lane, lease.score, lease.expires)
    elseif lease then
      redis.call('ZADD', tag .. 'back:' .. lease.class, lease.due, key)
    end
  end
  return #ended == LAPSE_MAX
end

-- Out of the place in which a lapsed lease shows it.
local function hide(tag, key, lease)
  if lease.lane ~= '' then
    step_from_lane(tag, key, lease.lane)
  else
    redis.call('ZREM', tag .. 'back:' .. lease.class, key)
  end
end

-- Ends a lease and takes the Delivery out of its place, pending entry and all.
local function leave(tag, key, lease)
  if redis.call('ZREM', tag .. 'until', key) == 0 then
    hide(tag, key, lease)
  end
  if lease.entry ~= '' then
    redis.call('XACK', tag .. 'work:' .. lease.class, GROUP, lease.entry)
    redis.call('XDEL', tag .. 'work:' .. lease.class, lease.entry)
  end
  redis.call('HDEL', tag .. 'lease', key)
end

-- Into the stream of a class.
local function stand_ready(tag, key, class, due)
  redis.call('XADD', tag .. 'work:' .. class, '*', 'd', key, 't', due)
end

-- Moves what has become due from the sorted set into the stream.
local function move_due(tag, class, now)
  local due = redis.call('ZRANGEBYSCORE', tag .. 'due:' .. class, '-inf', now, 'WITHSCORES', 'LIMIT', 0, MOVE_MAX)
  for at = 1, #due, 2 do
    redis.call('ZREM', tag .. 'due:' .. class, due[at])
    stand_ready(tag, due[at], class, due[at + 1])
  end
end

-- One of a Message's deliveries became final. Gives whether it was the last: then the body goes.
local function finish_one(tag, message)
  local name = tag .. 'm:' .. message
  if redis.call('HINCRBY', name, 'n', -1) > 0 then
    return false
  end
  redis.call('HDEL', name, 'b')
  redis.call('ZREM', tag .. 'ages', message)
  redis.call('ZADD', tag .. 'done', redis.call('HGET', name, 't'), message)
  return true
end

