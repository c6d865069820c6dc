-- What all functions share: the check of the epoch, names of keys, numbers that only grow.
--
-- Every function is called with the key of an epoch, the epoch that the caller knows, and '1' if this call repeats one whose
-- answer got lost (else '0'). Its own arguments begin at args[3]. Where the epoch is another, nothing is read or written.
-- Times are milliseconds and come from the caller. Answers are flat lists of strings; false stands for "there is none".

local CLASSES = {'critical', 'transactional', 'broadcast'}
local GROUP = 'posthaste'
-- States are numbered as in State::ALL; from this one on they are final.
local FIRST_FINAL = 5
-- Leases that one call lets lapse, and deliveries that it moves from the sorted set into the stream.
local LAPSE_MAX = 1000
local MOVE_MAX = 1000

-- Registers a function whose first check is the epoch.
local function step(name, flags, body)
  redis.register_function{
    function_name = 'posthaste_' .. name .. '_@VERSION@',
    flags = flags,
    callback = function(keys, args)
      if redis.call('GET', keys[1]) ~= args[1] then
        return redis.error_reply('POSTHASTE-EPOCH the store that was here is gone')
      end
      return body(string.sub(keys[1], 1, -6), args, args[2] == '1')
    end
  }
end

-- A number in digits, never in powers of ten.
local function digits(number)
  return string.format('%.0f', number)
end

-- The Message of a Delivery's key, and its recipient in digits.
local function split(key)
  local high, low = string.byte(key, 17, 18)
  return string.sub(key, 1, 16), digits(high * 256 + low)
end

-- A stored Delivery begins with its state, its class, and the lane under which it is parked; its record follows.
local function state_of(value)
  return string.byte(value, 1)
end

local function is_final(value)
  return state_of(value) >= FIRST_FINAL
end

local function class_of(value)
  return CLASSES[string.byte(value, 2) + 1]
end

local function lane_of(value)
  local high, low = string.byte(value, 3, 4)
  return string.sub(value, 5, 4 + high * 256 + low)
end

-- Numbers that only grow, even if Redis has lost its last second: never behind its clock in microseconds.
local function ticks(tag, field)
  return {tag = tag, field = field}
end

local function tick(numbers)
  if not numbers.last then
    local time = redis.call('TIME')
    local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
    local last = tonumber(redis.call('HGET', numbers.tag .. 'count', numbers.field) or '0')
    numbers.last = math.max(last, now - 1)
  end
  numbers.last = numbers.last + 1
  return numbers.last
end

-- Writes down the last number given.
local function keep(numbers)
  if numbers.last then
    redis.call('HSET', numbers.tag .. 'count', numbers.field, digits(numbers.last))
  end
end

-- Appends an event of a Message, with its place in the order of all.
local function tell(numbers, message, event)
  redis.call('RPUSH', numbers.tag .. 'e:' .. message, digits(tick(numbers)) .. ' ' .. event)
end

-- Changes of counters, added up and written at the end of a call.
local function count(changes, field, by)
  changes[field] = (changes[field] or 0) + by
end

local function write_counts(tag, changes)
  for field, by in pairs(changes) do
    if by ~= 0 then
      redis.call('HINCRBY', tag .. 'count', field, digits(by))
    end
  end
end

-- The first opening of a store. `begin` asks for the epoch that is there, or agrees with others on one that is being made;
-- `make` makes it in a partition; `finish` says that all partitions have it. None can check an epoch.
local function opening(name, body)
  redis.register_function('posthaste_' .. name .. '_@VERSION@', function(keys, args)
    return body(string.sub(keys[1], 1, -6), args)
  end)
end

-- Takes a new epoch; gives the state of the store and its epoch.
opening('begin', function(tag, args)
  local epoch = redis.call('GET', tag .. 'epoch')
  if epoch then
    return {'made', epoch}
  end
  if redis.call('EXISTS', tag .. 'tenants', tag .. 'keys') > 0 then
    return {'incomplete', ''}
  end
  redis.call('SET', tag .. 'making', args[1], 'NX')
  return {'making', redis.call('GET', tag .. 'making')}
end)

-- Takes the epoch, and whether the store is being made.
opening('make', function(tag, args)
  local epoch = redis.call('GET', tag .. 'epoch')
  if epoch == args[1] then
    return {'made'}
  end
  if epoch or args[2] ~= 'making' or redis.call('EXISTS', tag .. 'count', tag .. 'suppressed') > 0 then
    return {'incomplete'}
  end
  for _, class in ipairs(CLASSES) do
    redis.call('XGROUP', 'CREATE', tag .. 'work:' .. class, GROUP, '0', 'MKSTREAM')
  end
  redis.call('SET', tag .. 'epoch', args[1])
  return {'made'}
end)

opening('finish', function(tag, args)
  redis.call('SET', tag .. 'epoch', args[1], 'NX')
  redis.call('DEL', tag .. 'making')
  return {'made'}
end)

