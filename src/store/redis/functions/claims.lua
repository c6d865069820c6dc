-- Nodes and the Sources that they send from: among the records that belong to no Message, so each change is one step.
--
-- `nodes` is a hash of presences, `sources` a hash of claims; values are JSON that only these functions read. Times are
-- those of the callers. Presences and claims that have ended are passed over, and deleted by the next claim.

local function live(hash, now)
  local entries, all = {}, redis.call('HGETALL', hash)
  for one = 1, #all, 2 do
    local entry = cjson.decode(all[one + 1])
    if tonumber(entry['until']) > now then
      entries[all[one]] = entry
    end
  end
  return entries, all
end

local function sorted(entries)
  local names = {}
  for name in pairs(entries) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- The board as a flat list: the number of nodes; for each its name, run, end, number of wanted Sources and their names; then
-- for each claim its Source, node, fence and end.
local function board(nodes, claims)
  local names = sorted(nodes)
  local answer = {digits(#names)}
  for _, name in ipairs(names) do
    local node = nodes[name]
    for _, part in ipairs({name, node.run, node['until'], digits(#node.wants)}) do
      answer[#answer + 1] = part
    end
    for _, source in ipairs(node.wants) do
      answer[#answer + 1] = source
    end
  end
  for _, source in ipairs(sorted(claims)) do
    local claim = claims[source]
    for _, part in ipairs({source, claim.node, claim.fence, claim['until']}) do
      answer[#answer + 1] = part
    end
  end
  return answer
end

-- A list of names in the arguments, after its length; and where it ends.
local function list(args, at)
  local names, length = {}, tonumber(args[at])
  for one = 1, length do
    names[one] = args[at + one]
  end
  return names, at + length + 1
end

-- Takes a node's name, its run, now, until, and three lists: the Sources it wants, claims and releases. Gives the board.
-- May not fail for want of memory: a node that cannot renew stops sending.
step('claim', {'allow-oom'}, function(tag, args)
  local id, run, now, until_ = args[3], args[4], tonumber(args[5]), args[6]
  local nodes, all_nodes = live(tag .. 'nodes', now)
  local claims, all_claims = live(tag .. 'sources', now)
  local known = nodes[id]
  if known and tonumber(known.run) > tonumber(run) then
    return board(nodes, claims)
  end
  for one = 1, #all_nodes, 2 do
    if not nodes[all_nodes[one]] then
      redis.call('HDEL', tag .. 'nodes', all_nodes[one])
    end
  end
  for one = 1, #all_claims, 2 do
    local source = all_claims[one]
    local claim = claims[source]
    if not claim or (known and known.run ~= run and claim.node == id) then
      claims[source] = nil
      redis.call('HDEL', tag .. 'sources', source)
    end
  end
  local wants, asked, released, at
  wants, at = list(args, 7)
  asked, at = list(args, at)
  released = list(args, at)
  nodes[id] = {run = run, ['until'] = until_, wants = wants}
  redis.call('HSET', tag .. 'nodes', id, cjson.encode(nodes[id]))
  for _, source in ipairs(released) do
    if claims[source] and claims[source].node == id then
      claims[source] = nil
      redis.call('HDEL', tag .. 'sources', source)
    end
  end
  local fences = ticks(tag, 'source_fence')
  for _, source in ipairs(asked) do
    if not claims[source] then
      claims[source] = {node = id, fence = digits(tick(fences))}
    end
    if claims[source].node == id then
      claims[source]['until'] = until_
      redis.call('HSET', tag .. 'sources', source, cjson.encode(claims[source]))
    end
  end
  keep(fences)
  return board(nodes, claims)
end)

-- Takes a node's name and its run. Deletes its presence and claims, unless a later run is there.
step('leave', {'allow-oom'}, function(tag, args)
  local id, presence = args[3], redis.call('HGET', tag .. 'nodes', args[3])
  if not presence or tonumber(cjson.decode(presence).run) > tonumber(args[4]) then
    return {}
  end
  redis.call('HDEL', tag .. 'nodes', id)
  local all = redis.call('HGETALL', tag .. 'sources')
  for one = 1, #all, 2 do
    if cjson.decode(all[one + 1]).node == id then
      redis.call('HDEL', tag .. 'sources', all[one])
    end
  end
  return {}
end)

-- Takes now. Gives the board.
step('board', {'no-writes'}, function(tag, args)
  local now = tonumber(args[3])
  local nodes = live(tag .. 'nodes', now)
  local claims = live(tag .. 'sources', now)
  return board(nodes, claims)
end)
