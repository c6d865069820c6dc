-- ACCEPT. Refused as a whole when Redis is full: it has no flag that says otherwise.
--
-- Takes the time of the call; an idempotency key ('' for none), its answer, when that is forgotten; the number of messages,
-- and for each: id, record, body, unsettled deliveries, all deliveries, time; the number of deliveries, and
-- for each: key, value, due time; then for each event its Message and its record.
-- Gives '' when it was stored, else the answer that was stored before.

-- Answers that have been over for a while; each call forgets more than it brings.
local FORGET_MAX = 2

local function earlier_answer(tag, now, key)
  local answer = redis.call('HGET', tag .. 'answers', key)
  if answer and tonumber(string.sub(answer, 1, 20)) > now then
    return answer
  end
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', tag .. 'forget', '-inf', now, 'LIMIT', 0, FORGET_MAX)) do
    redis.call('ZREM', tag .. 'forget', old)
    redis.call('HDEL', tag .. 'answers', old)
  end
  return nil
end

local function put_messages(tag, args, at)
  local messages = tonumber(args[at])
  for one = at + 1, at + messages * 6, 6 do
    local message, name = args[one], tag .. 'm:' .. args[one]
    redis.call('HSET', name, 'm', args[one + 1], 'n', args[one + 3], 'c', args[one + 4], 't', args[one + 5])
    if args[one + 3] == '0' then
      redis.call('ZADD', tag .. 'done', args[one + 5], message)
    else
      redis.call('HSET', name, 'b', args[one + 2])
      redis.call('ZADD', tag .. 'ages', args[one + 5], message)
    end
  end
  return messages, at + 1 + messages * 6
end

local function put_deliveries(tag, args, at, now, changes)
  local last = at + tonumber(args[at]) * 3
  for one = at + 1, last, 3 do
    local key, value, due = args[one], args[one + 1], args[one + 2]
    local message, recipient = split(key)
    redis.call('HSET', tag .. 'm:' .. message, 'd' .. recipient, value)
    count(changes, 's' .. state_of(value), 1)
    if not is_final(value) then
      local class = class_of(value)
      count(changes, 'c' .. string.byte(value, 2), 1)
      if tonumber(due) <= now then
        stand_ready(tag, key, class, due)
      else
        redis.call('ZADD', tag .. 'due:' .. class, due, key)
      end
    end
  end
  return last + 1
end

local function accept(tag, args, again)
  local now, key = tonumber(args[3]), args[4]
  if again and args[7] ~= '0' and redis.call('HEXISTS', tag .. 'm:' .. args[8], 'm') == 1 then
    return {''}
  end
  if key ~= '' then
    local answer = earlier_answer(tag, now, key)
    if answer then
      return {answer}
    end
    redis.call('HSET', tag .. 'answers', key, args[5])
    redis.call('ZADD', tag .. 'forget', args[6], key)
  end
  local changes = {}
  local messages, at = put_messages(tag, args, 7)
  count(changes, 'messages', messages)
  at = put_deliveries(tag, args, at, now, changes)
  write_counts(tag, changes)
  local sequence = ticks(tag, 'sequence')
  for one = at, #args, 2 do
    tell(sequence, args[one], args[one + 1])
  end
  keep(sequence)
  return {''}
end

step('accept', {}, accept)

