-- A new connection: if it leads to a server that did not write the epoch, another one begins.
-- A server that was started again, or a replica that took over, may have lost writes.

return answer(head('C'))
