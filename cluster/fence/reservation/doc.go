// Package reservation proves nodes dead by persistent reservations: the storage itself refuses a fenced node's writes.
//
// Every node registers a key of its own on each session that it writes through, and all together hold a reservation of
// the type write exclusive, all registrants (SPC-4 5.12, type 7): who is not registered may read and nothing else. To
// fence, PREEMPT AND ABORT removes the victim's key from all its sessions at once; when it returns, nothing that the victim
// had sent is under way, and nothing that it sends later lands. READ KEYS proves it.
//
// # Rules
//
//	S1 A life is registered on all its sessions before it claims its slot, and so before its first lease.
//	S2 Keys name lives and grow with them: the claim of a slot removes the keys of earlier lives of that slot, which are
//	   over, and never a later one.
//	S3 A life whose key is gone is fenced, whatever the reason. It never registers again: between its look at the keys and
//	   the arrival of its registration another node could have counted the absence of the key as proof. So the storage
//	   must keep registrations over its own restart (APTPL) and over the loss of a session; what does not is not used.
//	S4 An absent key is a proof only while the reservation is in force, and while the one who looks is registered: then
//	   it has not been fenced itself, and the state of the storage has not been lost. If another node has removed the key
//	   it counts only one bound of an I/O later, as that node's command may still be at work.
//	S5 On a unit where this works every node registers, also one that proves deaths by other methods only: the
//	   reservation of one shuts out all that have not.
package reservation
